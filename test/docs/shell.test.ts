import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../support/database.ts'
import { auth } from '../support/http.ts'
import { startServer, testSecret, type ServerProcess } from '../support/server.ts'
import { makeUser, testPassword } from '../support/users.ts'
import { blocksOf, codeIn, readPage, readPages, rowsOf, sectionOf, type Block } from './pages.ts'

const run = promisify(execFile)

/** Each call of the command line starts a process, on a machine that is busy with other tests. */
const timeout = 120_000

let database: FreshDatabase
let server: ServerProcess
let clone: string

beforeAll(async () => {
  database = await freshDatabase()
  server = await startServer(database.url)
  clone = await makeClone()
})

afterAll(async () => {
  await server?.[Symbol.asyncDispose]()
  await database?.[Symbol.asyncDispose]()
  rmSync(clone, { recursive: true })
})

/** The README first: it makes the user that the guides ask for. */
const pages = new Set([
  'README.md',
  'docs/start.md',
  ...readPages()
    .map(({ path: file }) => file)
    .toSorted(),
])
const pastedPages = [...pages].filter((page) => shellBlocks(page).length > 0)

describe('what a reader pastes into a shell runs, and answers as the page shows', () => {
  test.each(pastedPages)('%s', { timeout }, async (page) => {
    const pasted = shellBlocks(page)
    const outputs = await paste(pasted)
    for (const [i, output] of outputs.entries()) {
      for (const { language, line, text } of answersTo(pasted[i]!)) {
        const shown = `${page}:${line}`
        if (language === 'text')
          expect({ shown, output: alikeText(output) }).toEqual({
            shown,
            output: expect.stringContaining(alikeText(text)) as string,
          })
        else {
          const lines = output.split('\n').filter((printed) => /^[{[]/.test(printed))
          expect({ shown, answers: lines.map((printed) => alike(JSON.parse(printed))) }).toEqual({
            shown,
            answers: expect.arrayContaining([alike(JSON.parse(text))]) as unknown,
          })
        }
      }
    }
  })
})

test('docs/reference/metrics.md has every metric of the service, with its type and labels', async () => {
  const { refreshToken } = await signIn()
  await auth(server.url, 'refresh', { refreshToken })
  const text = await (await fetch(`${server.url}/metrics`)).text()
  const lines = text.split('\n').filter((line) => line.includes('token_ledger_'))
  const types = lines.flatMap((line) => {
    const [, name, type] = /^# TYPE (token_ledger_\w+) (\w+)$/.exec(line) ?? []
    return name === undefined ? [] : [{ name, type }]
  })
  const labelsOf = (name: string) => {
    const samples = lines.filter((line) => new RegExp(`^${name}(_bucket)?[{ ]`).test(line))
    expect([name, samples.length > 0]).toEqual([name, true])
    const labels = samples.flatMap((line) => [...line.matchAll(/[{,](\w+)="/g)].map((m) => m[1]!))
    return [...new Set(labels)].filter((label) => label !== 'le').toSorted()
  }
  const rows = rowsOf(sectionOf(readPage('docs/reference/metrics.md'), 'Metrics'))
  const documented = rows.map(([name = '', type, labels = '']) => [
    codeIn(name)[0],
    { type, labels: codeIn(labels).toSorted() },
  ])
  const actual = types.map(({ name, type }) => [name, { type, labels: labelsOf(name) }])
  expect(Object.fromEntries(documented)).toEqual(Object.fromEntries(actual))
})

test('docs/reference/access-token.md has every field of the header and every claim', async () => {
  const { accessToken } = await signIn()
  const [header, claims] = accessToken
    .split('.', 2)
    .map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()) as object)
  const page = readPage('docs/reference/access-token.md')
  const documentedHeader = rowsOf(sectionOf(page, 'Header')).map(([name = '']) => codeIn(name)[0])
  expect(documentedHeader).toEqual(Object.keys(header!))
  const documented = rowsOf(sectionOf(page, 'Claims')).map(([name = '', type]) => [
    codeIn(name)[0],
    type,
  ])
  const typeOf = (value: unknown) => (Array.isArray(value) ? 'array' : typeof value)
  expect(documented).toEqual(Object.entries(claims!).map(([name, value]) => [name, typeOf(value)]))
})

async function signIn(): Promise<{ accessToken: string; refreshToken: string }> {
  const { email } = await makeUser(database.url)
  const input = { email, password: testPassword, transport: 'body' }
  return (await auth(server.url, 'login', input)).data
}

function shellBlocks(page: string): readonly Block[] {
  return blocksOf(readPage(page)).filter(
    ({ language, flag }) => language === 'sh' && flag !== 'ignore',
  )
}

/** The blocks right after it, in its section, that show what it prints. */
function answersTo(pasted: Block): readonly Block[] {
  const after = blocksOf(readPage(pasted.page)).filter(({ line }) => line > pasted.line)
  const end = after.findIndex(
    ({ language, section }) => language === 'sh' || section !== pasted.section,
  )
  const own = end === -1 ? after : after.slice(0, end)
  return own.filter(({ language }) => language === 'json' || language === 'text')
}

/** Pastes the blocks into one shell. @returns what each printed */
async function paste(blocks: readonly Block[]): Promise<string[]> {
  const mark = '--- the next block ---'
  const script = [
    // A reader would see what failed.
    `trap 'echo "failed: $BASH_COMMAND" >&2; exit 1' ERR`,
    'set -E -o pipefail',
    ...blocks.flatMap(({ text }) => [
      text.replaceAll('http://localhost:3000', server.url),
      `echo; echo '${mark}'`,
    ]),
  ].join('\n')
  const { stdout } = await run('bash', ['-c', script], {
    cwd: clone,
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      DATABASE_URL: database.url,
      AUTH_SECRET: testSecret,
    },
  })
  return stdout.split(`\n${mark}\n`).slice(0, -1)
}

/**
 * A folder that looks like a clone: what a block writes is not written beside the sources. Its command line is
 * bundled, which starts four times as fast as the sources.
 */
async function makeClone(): Promise<string> {
  const folder = mkdtempSync(path.join(tmpdir(), 'token-ledger-docs-'))
  const changed = new Set(['package.json', 'dist'])
  for (const name of readdirSync('.'))
    if (!changed.has(name)) symlinkSync(path.resolve(name), path.join(folder, name))
  await build({
    entryPoints: ['server/cli/main.ts'],
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    outfile: path.join(folder, 'cli.mjs'),
  })
  const about = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: { cli: string } }
  expect(about.scripts.cli).toBe('node --import tsx server/cli/main.ts')
  const scripts = { ...about.scripts, cli: 'node cli.mjs' }
  writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ ...about, scripts }))
  return folder
}

/** A JSON answer without what differs from run to run. */
function alike(value: unknown): unknown {
  if (typeof value === 'string') return alikeText(value)
  if (Array.isArray(value)) return value.map(alike)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, alike(one)]))
}

function alikeText(text: string): string {
  return text
    .replaceAll(/[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}/g, '<id>')
    .replaceAll(/\beyJ[\w-]+\.[\w-]+\.[\w-]+/g, '<access token>')
    .replaceAll(/\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00)?/g, '<time>')
    .replaceAll(/\d\d:\d\d:\d\d(\.\d+)?/g, '<time>')
    .replaceAll(/\+\d+ (ms|s|min|h|d)( \d+ (s|min|h))?/g, '<later>')
    .replaceAll(/\bcurl\/[\d.]+/g, 'curl/<version>')
    .replaceAll(/\n +/g, '\n')
    .replaceAll(/ {2,}/g, '  ')
    .trim()
}
