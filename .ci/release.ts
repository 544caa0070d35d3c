// `npm run release -- X.Y.Z` makes the commit and the tag of a version. Pushing and publishing stay manual.
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { isNextVersion, moveUnreleased, readChangelog } from './changelog.ts'

const [version = '', ...rest] = process.argv.slice(2)
if (!/^(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*)){2}$/.test(version) || rest.length > 0)
  leave(3, 'usage: npm run release -- X.Y.Z')
const tag = `v${version}`

refuseIfDirty('commit or stash your changes first')
if (git('tag', '--list', tag) !== '') leave(1, `the tag ${tag} exists`)

const changelog = readFileSync('CHANGELOG.md', 'utf8')
const { latest, problem } = readChangelog(changelog)
if (problem !== null) leave(1, `CHANGELOG.md: ${problem}`)
const current = packageVersion()
if (latest !== null && latest !== current)
  leave(1, `package.json says ${current}, but the newest release in CHANGELOG.md is ${latest}`)
if (latest === null ? version !== current : !isNextVersion(current, version))
  leave(1, `${version} does not follow ${latest ?? `the first version, ${current}`}`)

run('npm', 'run', 'check')
refuseIfDirty('npm run check has changed files')

writeFileSync(
  'CHANGELOG.md',
  moveUnreleased(changelog, version, new Date().toISOString().slice(0, 10)),
)
// npm also knows the places in package-lock.json. The hook that refuses `npm version` is skipped.
const withoutGit = ['--no-git-tag-version', '--allow-same-version', '--ignore-scripts']
run('npm', 'version', version, ...withoutGit)
run('git', 'commit', '--quiet', '--all', '--message', `release: ${version}`)
run('git', 'tag', '--annotate', tag, '--message', tag)
console.error(`${tag} is committed and tagged. Next: git push --follow-tags && npm publish`)

function refuseIfDirty(advice: string): void {
  const changes = git('status', '--porcelain')
  if (changes !== '') leave(1, `the working tree is not clean; ${advice}\n${changes}`)
}

function packageVersion(): string {
  return (JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }).version
}

function git(...args: string[]): string {
  return execFileSync('git', args, { encoding: 'utf8' }).trimEnd()
}

/** Runs a command that shows its own output, and ends the release when the command fails. */
function run(command: string, ...args: string[]): void {
  try {
    execFileSync(command, args, { stdio: 'inherit' })
  } catch {
    leave(1, `${command} ${args[0]} ${args[1] ?? ''} failed`)
  }
}

function leave(code: 1 | 3, message: string): never {
  console.error(`release: ${message}`)
  process.exit(code)
}
