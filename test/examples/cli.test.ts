import { once } from 'node:events'
import { spawn } from 'node:child_process'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { runsLong } from '../support/long.ts'
import { makeUser, testPassword } from '../support/users.ts'
import { installExample, type Project } from './project.ts'
import { accessTokenSeconds, startService, type ExampleService } from './service.ts'

describe.runIf(runsLong)('client/examples/cli, on a machine', { timeout: 120_000 }, () => {
  let service: ExampleService
  let project: Project
  beforeAll(async () => {
    service = await startService({})
    project = await installExample('cli')
  }, 600_000)
  afterAll(async () => {
    await project?.[Symbol.asyncDispose]()
    await service?.[Symbol.asyncDispose]()
  })

  test('signs in and calls, and goes on when it runs again after its access token has expired', async () => {
    const { tool, email } = await begin()
    expect(await tool(['login', email], 'wrong')).toMatch(/password is wrong/)
    expect(await tool(['login', email], testPassword)).toBe(`Signed in as ${email}.\n`)
    expect(await tool(['whoami'])).toBe(`${email}\n`)
    await sleep(accessTokenSeconds * 1000)
    expect(await tool(['whoami'])).toBe(`${email}\n`)
  })

  test('stays signed in when it runs ten times at once', async () => {
    const { tool, email } = await signedIn()
    const outputs = await Promise.all(Array.from({ length: 10 }, () => tool(['whoami'])))
    expect(outputs).toEqual(outputs.map(() => `${email}\n`))
  })

  test('stays signed in while the service restarts, and while there is no network', async () => {
    const { tool, email } = await signedIn()
    await service.restart()
    expect(await tool(['whoami'])).toBe(`${email}\n`)
    for (const kind of ['drop-request', 'drop-answer'] as const)
      await service.whileLost(kind, async () => {
        expect(await tool(['whoami'])).toBe('The service cannot be reached: network_error.\n')
      })
    expect(await tool(['whoami'])).toBe(`${email}\n`)
  })

  test('is signed out by a sign-out on another machine, and by one of a run on this machine', async () => {
    const { tool, email } = await signedIn()
    await service.signOutElsewhere(email)
    expect(await tool(['whoami'])).toBe('Sign in first: session_revoked.\n')
    await tool(['login', email], testPassword)
    expect(await tool(['logout'])).toBe('Signed out.\n')
    expect(await tool(['whoami'])).toBe('Sign in first: refresh_token_missing.\n')
  })

  test('sends a sign-out that was made without a network with its next run', async () => {
    const { tool, email } = await signedIn()
    await service.whileLost('drop-request', async () => {
      expect(await tool(['logout'])).toMatch(/^Signed out here\./)
    })
    expect(await tool(['whoami'])).toMatch(/^Sign in first: /)
    const ended = await service.database.ownerSql`
      select from token_audit.sessions where email = ${email} and end_reason = 'logout'`
    expect(ended).toHaveLength(1)
  })

  test('tells of a session that was revoked from the command line', async () => {
    const { tool, email } = await signedIn()
    await service.revoke(email, 'a lost laptop')
    expect(await tool(['whoami'])).toBe('Sign in first: session_revoked.\n')
  })

  test('shows another person who signs in on the same machine nothing of the first', async () => {
    const { tool } = await signedIn()
    const other = await makeUser(service.database.url)
    expect(await tool(['login', other.email], testPassword)).toBe(`Signed in as ${other.email}.\n`)
    expect(await tool(['whoami'])).toBe(`${other.email}\n`)
  })

  test('none of this was a reuse', async () => {
    expect(await service.countOf('reuse_detected')).toBe(0)
  })

  /** A new user, and the tool on a machine on which it never ran. */
  async function begin() {
    const { email } = await makeUser(service.database.url)
    const env = {
      PATH: process.env.PATH,
      SERVICE_URL: service.url,
      SESSION_FILE: path.join(project.folder, email),
    }
    const tool = async (args: readonly string[], stdin = ''): Promise<string> => {
      const child = spawn(process.execPath, ['main.js', ...args], { cwd: project.folder, env })
      child.stdin.end(stdin)
      const output = Promise.all([text(child.stdout), text(child.stderr)])
      await once(child, 'exit')
      return (await output).join('')
    }
    return { tool, email }
  }

  async function signedIn() {
    const { tool, email } = await begin()
    await tool(['login', email], testPassword)
    return { tool, email }
  }
})
