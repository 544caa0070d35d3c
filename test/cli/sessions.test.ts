import { afterAll, beforeAll, expect, test } from 'vitest'
import { moveClock } from '../support/clock.ts'
import { cli } from '../support/cli.ts'
import { startLedger, type TestLedger } from '../support/ledger.ts'
import type { User } from '../../server/users/directory.ts'

const hostile =
  `<script>alert(1)</script>\n\u202egpj.exe\u001b[2J\u2028\t"${'x'.repeat(8_192)}`.slice(0, 512)
// Everything that would move a terminal's cursor, end a line or reverse its direction.
const unsafe = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u

let ledger: TestLedger
let url: string
let user: User
let stolen: string
let open: string

beforeAll(async () => {
  ledger = await startLedger()
  url = ledger.owner.url
  user = await ledger.makeUser()
  const first = await ledger.start(user)
  const second = await ledger.refresh(first)
  await ledger.refresh(first)
  let newest = second
  for (let i = 0; i < 9; i++) newest = await ledger.refresh(newest)
  await moveClock(ledger.owner.ownerSql, 125_000)
  const { token, transport } = first
  const caller = { ip: '198.51.100.66', userAgent: hostile }
  await ledger.rotate({ token, transport, attemptId: null, caller }).catch(() => {})
  stolen = first.familyId
  open = (await ledger.start(user, { caller: caller, deviceName: 'tab\tand\u202e' })).familyId
})

afterAll(() => ledger[Symbol.asyncDispose]())

test('AD-06 (ASVS 3.2.2): sessions are listed as a table and as JSON lines, whatever a user agent holds', async () => {
  const listed = await cli(url, ['sessions', 'list', '--user', user.email])
  expect(listed).toMatchObject({ code: 0, stderr: '2 sessions\n' })
  const lines = listed.stdout.trimEnd().split('\n')
  expect(lines).toHaveLength(3)
  expect(lines.filter((line) => unsafe.test(line))).toEqual([])
  expect(lines[1]).toContain(`${open}  ${user.email.slice(0, 39)}…`)
  expect(lines[1]).toContain('<script>')

  const json = await cli(url, ['sessions', 'list', '--status', 'active', '--json'])
  const [line, ...rest] = json.stdout.trimEnd().split('\n')
  expect(rest).toEqual([])
  expect(line).not.toMatch(unsafe)
  expect(JSON.parse(line!)).toMatchObject({ familyId: open, status: 'active', userAgent: hostile })
})

test('sessions inspect tells the history of a family in lines that a support person can read', async () => {
  const { stdout, code } = await cli(url, ['sessions', 'inspect', stolen])
  expect(code).toBe(0)
  const lines = stdout.trimEnd().split('\n')
  expect(lines.filter((line) => unsafe.test(line))).toEqual([])
  expect(lines[0]).toBe(`session  ${stolen}`)
  expect(lines[3]).toMatch(/^status {3}reuse_detected at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/)
  expect(lines[4]).toMatch(/^proof {4}pwd at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/)
  const story = lines.slice(7, -2).map((line) => line.replace(/\d{4}-.{15}/, 'AT'))
  expect(story).toEqual([
    expect.stringMatching(/^1 +AT +signed in by pwd +192\.0\.2\.7 {2}test browser$/),
    expect.stringMatching(/^2 +AT +\+\d+ ms +refreshed: token 1 +same caller$/),
    expect.stringMatching(/token 0 presented again within the grace window: token 1 again/),
    expect.stringMatching(/refreshed: token 2/),
    expect.stringMatching(/… 7 more refreshes by the same caller$/),
    expect.stringMatching(/refreshed: token 10/),
    expect.stringMatching(
      /^13 +AT +\+2 min \d+ s +REUSE: spent token 0 presented again, 10 behind +198\.51\.100\.66/,
    ),
  ])
  expect(lines.at(-1)).toBe(
    'A spent refresh token was used again, so the session was revoked. The token came from another caller ' +
      `than the one that got the newest: treat it as a theft. Incident ${stolen}:13.`,
  )
  const json = JSON.parse((await cli(url, ['sessions', 'inspect', stolen, '--json'])).stdout)
  expect(json).toMatchObject({ familyId: stolen, status: 'reuse_detected' })
  expect(json.events).toHaveLength(13)
})

test('one session is revoked with a reason that sessions inspect shows', async () => {
  const { familyId } = await ledger.start(user)
  const args = ['sessions', 'revoke', familyId, '--reason', 'asked on the phone']
  expect(await cli(url, args)).toMatchObject({ code: 0, stdout: '1\n' })
  expect(await cli(url, args)).toMatchObject({
    code: 0,
    stdout: '0\n',
    stderr: 'the session was over already\n',
  })
  const { stdout } = await cli(url, ['sessions', 'inspect', familyId])
  expect(stdout).toContain('ended: by an admin (the command line): asked on the phone')
  const json = JSON.parse((await cli(url, ['sessions', 'inspect', familyId, '--json'])).stdout)
  expect(json.adminActions).toEqual([
    expect.objectContaining({ occurredAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT.{12}Z$/) }),
  ])
})

test.each([
  ['it had not been refreshed in time', { idleMs: 60_000, absoluteMs: 120_000 }],
  ['it had reached its absolute expiration', { idleMs: 120_000, absoluteMs: 60_000 }],
])('sessions inspect says why a session expired: %s', async (why, policy) => {
  await using brief = await startLedger(policy)
  const { familyId } = await brief.start(await brief.makeUser())
  await moveClock(brief.owner.ownerSql, 120_000)
  const { stdout } = await cli(brief.owner.url, ['sessions', 'inspect', familyId])
  expect(stdout.trimEnd().split('\n').at(-1)).toMatch(
    new RegExp(`^The session expired at .{19}: ${why}\\.$`),
  )
})

test('all sessions of a user are revoked, and the user is erased', async () => {
  const revoked = await cli(url, ['sessions', 'revoke-user', user.email, '--reason', 'drill'])
  expect(revoked).toMatchObject({ code: 0, stdout: '1\n' })
  const erased = await cli(url, ['user', 'erase', user.email])
  expect(erased).toMatchObject({ code: 0, stdout: `${user.id}\n` })
  expect(await cli(url, ['user', 'erase', user.email])).toMatchObject({ code: 2, stdout: '' })
  const { stdout } = await cli(url, ['sessions', 'inspect', stolen])
  expect(stdout).toContain('The callers were erased.')
  expect(stdout).toContain('user     (erased)  ')
  expect(stdout).not.toContain('192.0.2.7')
  expect(await cli(url, ['ledger', 'verify'])).toMatchObject({ code: 0 })
})

test('wrong usage exits 3, an unknown id exits 2', async () => {
  const none = '00000000-0000-7000-8000-000000000000'
  expect(await ask('sessions', 'inspect', 'x')).toBe(3)
  expect(await ask('sessions', 'revoke', none)).toBe(3)
  expect(await ask('sessions', 'list', '--status', 'gone')).toBe(3)
  expect(await ask('ledger', 'archive', '--before', '2026-01-01')).toBe(3)
  expect(await ask('sessions', 'inspect', none)).toBe(2)
  expect(await ask('sessions', 'revoke', none, '--reason', 'x')).toBe(2)
  expect(await ask('sessions', 'revoke-user', 'nobody@example.com', '--reason', 'x')).toBe(2)
}, 60_000)

async function ask(...args: string[]): Promise<number> {
  return (await cli(url, args)).code
}
