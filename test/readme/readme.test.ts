import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { freshDatabase } from '../support/database.ts'
import { startServer } from '../support/server.ts'

const run = promisify(execFile)

test('the session of the README can be pasted as it stands', async () => {
  await using database = await freshDatabase()
  await using server = await startServer(database.url)
  const readme = await readFile('README.md', 'utf8')
  const pasted = /```sh\n(S=http[\s\S]*?)```/.exec(readme)![1]!
  const { stdout } = await run('bash', ['-c', pasted.replace('http://127.0.0.1:3000', server.url)])
  const answers = stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))
  const [registered, me, first, second, stolen, owner, list] = answers
  expect(registered.result.data.user).toMatchObject({ email: 'ada@example.com', role: 'user' })
  expect(me.result.data.user.email).toBe('ada@example.com')
  expect(first.result.data.familyId).toBe(second.result.data.familyId)
  const incidentId = `${first.result.data.familyId}:4`
  expect(stolen.error.data).toMatchObject({ reason: 'refresh_token_reused', incidentId })
  expect(owner.error.data).toMatchObject({ reason: 'refresh_token_reused', incidentId })
  expect(list.error.data.reason).toBe('access_token_revoked')
  // What the README shows of the answers is what they say.
  for (const { error } of [stolen, list]) expect(readme).toContain(JSON.stringify(error.message))
})

test('the README names the configuration as the schema has it', async () => {
  const [readme, config] = await Promise.all([
    readFile('README.md', 'utf8'),
    readFile('server/config/config.ts', 'utf8'),
  ])
  const variables = [...config.matchAll(/^ {4}([A-Z_]+):/gm)].map((match) => match[1]!)
  expect(variables.length).toBeGreaterThan(20)
  for (const variable of variables.filter((name) => name !== 'NODE_ENV'))
    expect(readme).toContain(`\`${variable}`)
})
