import { execFile, execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { build } from 'esbuild'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { isNextVersion, moveUnreleased, readChangelog } from '../../.ci/changelog.ts'

const entries = '### Added\n\n- A thing.\n'
const firstChangelog = `# Changelog\n\n## Unreleased\n\n${entries}`
const fix = '### Fixed\n\n- A bug.\n'

// Each release is a handful of processes, which a busy machine starts slowly.
describe('the release script', { timeout: 90_000 }, () => {
  let folder: string
  let template: string
  let repository: string
  const env = {
    PATH: process.env.PATH,
    HOME: process.env.HOME,
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_AUTHOR_NAME: 'Ada',
    GIT_AUTHOR_EMAIL: 'ada@example.com',
    GIT_COMMITTER_NAME: 'Ada',
    GIT_COMMITTER_EMAIL: 'ada@example.com',
  }

  // Made once: the script as one file of JavaScript, and the repository that each test copies.
  beforeAll(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'token-ledger-release-'))
    await build({
      entryPoints: ['.ci/release.ts'],
      outfile: path.join(folder, 'release.mjs'),
      bundle: true,
      platform: 'node',
      format: 'esm',
    })
    const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as Manifest
    const { prepublishOnly } = manifest.scripts
    const scripts = { check: 'node check.cjs', prepublishOnly }
    template = mkdtempSync(path.join(folder, 'template-'))
    repository = template
    git('init', '--quiet')
    write('package.json', JSON.stringify({ name: 'thing', version: '0.1.0', scripts }))
    write('check.cjs', '')
    write('CHANGELOG.md', firstChangelog)
    commit('a thing')
  })

  afterAll(() => rmSync(folder, { recursive: true }))

  beforeEach(() => {
    repository = mkdtempSync(path.join(folder, 'repository-'))
    cpSync(template, repository, { recursive: true })
  })

  test('moves Unreleased to the version and the day, commits and tags', async () => {
    const days = [today()]
    expect(await release('0.1.0')).toMatch(/^0: /)
    days.push(today())
    const [, day = ''] = /## 0\.1\.0 - (.+)/.exec(read('CHANGELOG.md')) ?? []
    expect(days).toContain(day)
    const moved = `# Changelog\n\n## Unreleased\n\n## 0.1.0 - ${day}\n\n${entries}`
    expect(read('CHANGELOG.md')).toBe(moved)
    expect(git('log', '-1', '--format=%s %D')).toMatch(/^release: 0\.1\.0 .*tag: v0\.1\.0$/)
    expect(git('cat-file', '-t', 'v0.1.0')).toBe('tag')
    expect(git('status', '--porcelain')).toBe('')
  })

  test('makes the next version, which follows the last one without a gap', async () => {
    await release('0.1.0')
    write('CHANGELOG.md', read('CHANGELOG.md').replace('Unreleased\n', `Unreleased\n\n${fix}`))
    commit('a bug')
    expect(await release('0.1.2')).toMatch(/^1: release: 0\.1\.2 does not follow 0\.1\.0/)
    expect(await release('0.1.0')).toMatch(/^1: release: the tag v0\.1\.0 exists/)
    expect(await release('0.1.1')).toMatch(/^0: /)
    expect(JSON.parse(read('package.json'))).toMatchObject({ version: '0.1.1' })
    expect(read('CHANGELOG.md')).toMatch(
      /\n## 0\.1\.1 - .{10}\n\n### Fixed\n\n- A bug\.\n\n## 0\.1\.0/,
    )
  })

  const none = '# Changelog\n\n## Unreleased\n'
  const makeFile = "require('fs').writeFileSync('made', '')"
  test.each([
    ['there is nothing under Unreleased', 'CHANGELOG.md', none, /no entries under Unreleased/],
    ['npm run check fails', 'check.cjs', 'process.exit(1)', /npm run check failed/],
    ['npm run check changes the tree', 'check.cjs', makeFile, /\?\? made/],
  ])('changes nothing when %s', async (_, file, text, problem) => {
    write(file, text)
    commit('a change')
    const before = git('rev-parse', 'HEAD')
    const outcome = await release('0.1.0')
    expect(outcome).toMatch(/^1: /)
    expect(outcome).toMatch(problem)
    expect(git('rev-parse', 'HEAD')).toBe(before)
    expect(git('diff', '--name-only')).toBe('')
    expect(git('tag')).toBe('')
  })

  test.each([
    ['a changed file', 'check.cjs'],
    ['a new file', 'new.txt'],
  ])('refuses a tree with %s', async (_, file) => {
    write(file, '// changed')
    expect(await release('0.1.0')).toMatch(/^1: release: the working tree is not clean/)
  })

  test('starts with the version of package.json, and refuses one that is not in the changelog', async () => {
    expect(await release('0.2.0')).toMatch(/^1: release: 0\.2\.0 does not follow the first version/)
    write('CHANGELOG.md', `${firstChangelog}\n## 0.0.1 - 2026-01-31\n\n${fix}`)
    commit('another history')
    expect(await release('0.0.2')).toMatch(/^1: release: package\.json says 0\.1\.0, but/)
  })

  test('explains its usage and exits with 3 without one version', async () => {
    for (const args of [['1.0'], ['0.1.0', '--force']])
      expect(await release(...args)).toMatch(/^3: release: usage: npm run release/)
  })

  test('a version is published only from its own tag and a clean tree', async () => {
    const publish = () => run('npm', ['run', '--silent', 'prepublishOnly'])
    expect(await publish()).not.toMatch(/^0: /)
    await release('0.1.0')
    expect(await publish()).toMatch(/^0: /)
    write('new.txt', '')
    expect(await publish()).not.toMatch(/^0: /)
  })

  function release(...args: string[]): Promise<string> {
    return run(process.execPath, [path.join(folder, 'release.mjs'), ...args])
  }

  /** @returns the exit code and what was written to stderr */
  function run(command: string, args: string[]): Promise<string> {
    return new Promise((resolve) => {
      execFile(command, args, { cwd: repository, env }, (error, _, stderr) => {
        resolve(`${error?.code ?? 0}: ${stderr}`)
      })
    })
  }

  function git(...args: string[]): string {
    return execFileSync('git', args, { cwd: repository, env, encoding: 'utf8' }).trimEnd()
  }

  function commit(subject: string): void {
    git('add', '--all')
    git('commit', '--quiet', '--message', subject)
  }

  function write(file: string, text: string): void {
    writeFileSync(path.join(repository, file), text)
  }

  function read(file: string): string {
    return readFileSync(path.join(repository, file), 'utf8')
  }
})

const empty = 'there are no entries under Unreleased'
test.each([
  ['without Unreleased', '# Changelog\n', 'the first section must be "## Unreleased"'],
  ['with a version first', '## 0.1.0 - 2026-01-31\n', 'the first section must be "## Unreleased"'],
  [
    'with two Unreleased',
    `${firstChangelog}\n## Unreleased\n`,
    '"## Unreleased" is not a version with its date',
  ],
  [
    'with a version without a date',
    `${firstChangelog}\n## 0.1.0\n`,
    '"## 0.1.0" is not a version with its date',
  ],
  ['with an empty Unreleased', `## Unreleased\n\n## 0.1.0 - 2026-01-31\n${entries}`, empty],
  [
    'with an entry under no heading',
    '## Unreleased\n- A thing.\n',
    'entries under Unreleased need a heading, as "### Added"',
  ],
  [
    'with another heading',
    '## Unreleased\n### New\n- A thing.\n',
    '"### New" is not one of Added, Changed, Deprecated, Removed, Fixed, Security',
  ],
  [
    'with an empty heading',
    '## Unreleased\n### Added\n### Fixed\n- A bug.\n',
    'there are no entries under "### Added"',
  ],
  [
    'with an empty heading at the end',
    `## Unreleased\n${entries}### Fixed\n`,
    'there are no entries under "### Fixed"',
  ],
  [
    'with a placeholder',
    `## Unreleased\n${entries}- Pending.\n`,
    'an entry is still to be written: "- Pending."',
  ],
])('nothing is released from a changelog %s', (_, text, problem) => {
  expect(readChangelog(text)).toMatchObject({ problem })
})

test('entries may be introduced, and may use words that stand in for an entry elsewhere', () => {
  const text = `## Unreleased\n### Changed\nFor operators:\n- Pending requests are counted.\n`
  expect(readChangelog(text)).toEqual({ latest: null, problem: null })
})

test('only the entries under Unreleased move', () => {
  const once = moveUnreleased(firstChangelog, '0.1.0', '2026-01-31')
  expect(readChangelog(once)).toEqual({ latest: '0.1.0', problem: empty })
  const twice = once.replace('Unreleased\n', `Unreleased\n\n${fix}`)
  expect(readChangelog(twice)).toEqual({ latest: '0.1.0', problem: null })
  expect(moveUnreleased(twice, '0.1.1', '2026-02-01')).toBe(
    `# Changelog\n\n## Unreleased\n\n## 0.1.1 - 2026-02-01\n\n${fix}\n## 0.1.0 - 2026-01-31\n\n${entries}`,
  )
})

test('the next version is one patch, minor or major step away', () => {
  const candidates = ['0.1.0', '0.1.1', '0.1.2', '0.2.0', '0.2.1', '1.0.0', '1.1.0', '2.0.0']
  const next = candidates.filter((version) => isNextVersion('0.1.0', version))
  expect(next).toEqual(['0.1.1', '0.2.0', '1.0.0'])
})

test("this repository's changelog can be released from, or has nothing new since the last release", () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as Manifest
  const { latest, problem } = readChangelog(readFileSync('CHANGELOG.md', 'utf8'))
  expect([null, empty]).toContain(problem)
  expect([null, version]).toContain(latest)
})

function today(): string {
  return new Date().toISOString().slice(0, 10)
}

type Manifest = { readonly version: string; readonly scripts: Record<string, string> }
