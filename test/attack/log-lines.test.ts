import { expect, test } from 'vitest'
import { attackedServer } from '../support/attacked-server.ts'
import { signIn } from '../support/sessions.ts'

const world = attackedServer({ LOG_LEVEL: 'trace' })

test('LG-03 (ASVS 16.4.1): whatever a caller sends, the log holds one JSON object a line, and the caller writes none of them', async () => {
  const { accessToken, refreshToken } = await signIn(world)
  const event = '{"level":30,"event":"session_started","familyId":"forged"}'
  const hostile = [
    `a\r\n${event}\r\n`,
    `\n${event}`,
    '\u001b[2J\u001b]0;owned\u0007',
    '\u2028\u2029',
    '"},{"',
    '\0\b',
  ]
  for (const text of hostile) {
    // Node sends no control character in a header: here they are in a URL and in a body.
    const inUrl = encodeURIComponent(text)
    const headers = {
      authorization: `Bearer ${accessToken}`,
      'user-agent': text.replaceAll(/[^ -~]/g, ' '),
    }
    await world.request('/auth/login', {
      json: { email: text, password: text, deviceName: 'x' },
      headers,
    })
    await world.request('/auth/refresh', { json: { refreshToken: text, attemptId: text } })
    await world.request('/auth/refresh', {
      json: { refreshToken },
      headers: { 'x-request-id': inUrl },
    })
    await world.request(`/auth/${inUrl}`, { json: {} })
    await world.request(`/trpc/${inUrl}?input=${inUrl}`, { method: 'GET', headers })
    await world.request('/trpc/sessions.revoke', { headers, json: { familyId: text } })
    await world.request('/auth/login', {
      headers: { 'content-type': 'application/json' },
      body: text,
    })
    // Bytes that the client of this package never sends.
    await world.raw(
      `GET /trpc/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUser-Agent: a\x1b[31m\r\nX-A: b\r\n\t${event}\r\n\r\n`,
    )
  }
  const lines = world.server
    .output()
    .split('\n')
    .filter((line) => line !== '')
  expect(lines.length).toBeGreaterThan(10)
  for (const line of lines) {
    // A line that the process writes about itself, such as its address, is plain text without caller input.
    const said = line.startsWith('{') ? (JSON.parse(line) as Record<string, unknown>) : {}
    expect(said).not.toMatchObject({ familyId: 'forged' })
    // oxlint-disable-next-line no-control-regex
    expect(line).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f\u2028\u2029]/)
    expect(line.startsWith('{') || !/owned|forged/.test(line)).toBe(true)
  }
})
