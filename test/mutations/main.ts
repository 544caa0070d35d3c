import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { startEmbeddedPostgres } from '../../server/embedded-postgres/start.ts'
import { testPostgresSettings } from '../support/postgres-settings.ts'
import { copyWorkingTree } from '../support/working-tree.ts'
import { mutations } from './list.ts'
import type { Mutation } from './mutation.ts'

/** A mutation's run that takes longer counts as hanging, without a result. */
const runTimeoutMs = 300_000
/** The run without a mutation is of all tests that any mutation names. */
const wholeTimeoutMs = 3_600_000

/** `failed` is the first test that failed; without one, `no answer` means that the service did not compile or migrate. */
type Verdict = { readonly says: 'red' | 'green' | 'no answer'; readonly failed: string }

const { values } = parseArgs({ options: { only: { type: 'string' } } })
const chosen = mutations.filter(
  ({ name }) => values.only === undefined || name.includes(values.only),
)
if (chosen.length === 0) {
  console.error(`no mutation has ${values.only} in its name`)
  process.exit(3)
}

const folder = await mkdtemp(path.join(tmpdir(), 'token-ledger-mutations-'))
// Also for the user as whom Postgres runs when root starts it.
await chmod(folder, 0o711)
const copy = path.join(folder, 'copy')
try {
  // Vitest does it before its tests. In the copy, it would go through the link and empty the real folder.
  execFileSync('npm', ['run', '--silent', 'test:packages'], { stdio: 'inherit' })
  await copyWorkingTree(copy)
  // One for all runs, because its start takes longer than most of them.
  const postgres = await startEmbeddedPostgres({
    dataDir: path.join(folder, 'data'),
    settings: testPostgresSettings,
  })
  try {
    process.exitCode = await breakEach(postgres.url)
  } finally {
    await postgres.stop()
  }
} finally {
  await rm(folder, { recursive: true, force: true })
}

/** @returns the exit code: 1 when a mutation was not found */
async function breakEach(databaseUrl: string): Promise<number> {
  const startedAt = performance.now()
  const tests = [...new Set(chosen.flatMap((mutation) => mutation.tests))]
  const whole = await verdictOf(databaseUrl, tests, wholeTimeoutMs)
  if (whole.says !== 'green') {
    console.error(`without any mutation: ${whole.says}\n${whole.failed}`)
    return 1
  }
  const lived: string[] = []
  for (const mutation of chosen) {
    const beganAt = performance.now()
    const { says, failed } = await verdictWith(databaseUrl, mutation)
    const seconds = ((performance.now() - beganAt) / 1000).toFixed(1)
    console.log(`${says.padEnd(9)}  ${seconds.padStart(5)} s  ${mutation.name}`)
    if (failed !== '') console.log(`${' '.repeat(20)}${failed}`)
    if (says !== 'red') lived.push(mutation.name)
  }
  const minutes = ((performance.now() - startedAt) / 60_000).toFixed(1)
  console.log(`${chosen.length - lived.length} of ${chosen.length} found, in ${minutes} minutes`)
  return lived.length === 0 ? 0 : 1
}

async function verdictWith(databaseUrl: string, mutation: Mutation): Promise<Verdict> {
  const { find, replace } = mutation
  const file = path.join(copy, mutation.file)
  const text = await readFile(file, 'utf8')
  const [before, after, ...more] = text.split(find)
  if (before === undefined || after === undefined || more.length > 0)
    throw new Error(`${mutation.name}: its text is not there once in ${mutation.file}`)
  await writeFile(file, before + replace + after)
  try {
    return await verdictOf(databaseUrl, mutation.tests)
  } finally {
    await writeFile(file, text)
  }
}

async function verdictOf(
  databaseUrl: string,
  tests: readonly string[],
  timeout = runTimeoutMs,
): Promise<Verdict> {
  const reportFile = path.join(folder, 'report.json')
  await rm(reportFile, { force: true })
  const vitest = path.join('node_modules', 'vitest', 'vitest.mjs')
  const said = ['--reporter', 'json', '--outputFile', reportFile]
  const args = ['run', '--bail', '1', ...said, ...tests]
  const child = spawn(process.execPath, [vitest, ...args], {
    cwd: copy,
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      DATABASE_URL: databaseUrl,
      // Some mutations are found by long tests alone.
      TEST_LONG: 'yes',
    },
    stdio: 'ignore',
    timeout,
    detached: true,
  })
  await once(child, 'exit')
  endGroup(child.pid)
  const text = await readFile(reportFile, 'utf8').catch(() => null)
  if (text === null) return { says: 'no answer', failed: '' }
  const report = JSON.parse(text) as Report
  const failed = report.testResults
    .flatMap(({ assertionResults }) => assertionResults)
    .find(({ status }) => status === 'failed')
  if (failed !== undefined) return { says: 'red', failed: failed.fullName }
  const isGreen = report.success && report.numPassedTests > 0
  return { says: isGreen ? 'green' : 'no answer', failed: '' }
}

/** Ends what the tests started: with `--bail`, vitest ends its workers before they stop their servers. */
function endGroup(pid: number | undefined): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** The part of vitest's JSON that is used. */
type Report = {
  readonly success: boolean
  readonly numPassedTests: number
  readonly testResults: readonly {
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[]
  }[]
}
