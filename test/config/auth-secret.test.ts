import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { loadOrCreateAuthSecret } from '../../server/config/auth-secret.ts'
import { ConfigError } from '../../server/config/config.ts'

let dataDir: string
let file: string

beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'token-ledger-secret-'))
  file = join(dataDir, 'auth-secret')
})

afterEach(() => rmSync(dataDir, { recursive: true }))

function problemOf(place: string): string {
  try {
    loadOrCreateAuthSecret(place)
    return 'none'
  } catch (error) {
    return error instanceof ConfigError ? error.message : `not a ConfigError: ${String(error)}`
  }
}

test('the secret is generated once, readable by its owner alone (ASVS 13.3.1)', () => {
  const secret = loadOrCreateAuthSecret(dataDir)
  expect(Buffer.byteLength(secret)).toBeGreaterThanOrEqual(32)
  expect(statSync(file).mode & 0o777).toBe(0o600)
  expect(loadOrCreateAuthSecret(dataDir)).toBe(secret)
})

test.each(['640', '604', '620', '666'])(
  'a secret file of mode %s, which others may use, is refused with the command that fixes it (ASVS 13.3.1)',
  (mode) => {
    loadOrCreateAuthSecret(dataDir)
    chmodSync(file, Number.parseInt(mode, 8))
    const said = `AUTH_SECRET: other users can access ${file} (mode ${mode})`
    expect(problemOf(dataDir)).toBe(`${said}; restrict it with: chmod 600 ${file}`)
    chmodSync(file, 0o600)
    expect(problemOf(dataDir)).toBe('none')
  },
)

test('a secret that its owner may only read is accepted', () => {
  loadOrCreateAuthSecret(dataDir)
  chmodSync(file, 0o400)
  expect(problemOf(dataDir)).toBe('none')
})

test.each([
  ['an empty secret file', ''],
  ['a secret file with a newline alone', '\n'],
])('%s is reported as empty', (_what, text) => {
  writeFileSync(file, text, { mode: 0o600 })
  expect(problemOf(dataDir)).toMatch(
    /^AUTH_SECRET: .*auth-secret is empty; [^\n]+ remove it with: rm /,
  )
})

test('a data folder that is a file is refused in one line that names DATA_DIR', () => {
  writeFileSync(file, '')
  expect(problemOf(file)).toMatch(/^DATA_DIR: .* is not a folder \(\w+\); .* such as DATA_DIR=/)
})
