import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'

/** Debian's packages: the compiler, and Go's own code for transparency logs. */
export const hasGo =
  existsSync('/usr/share/gocode/src/golang.org/x/mod/sumdb/tlog') &&
  spawnSync('go', ['version']).status === 0

if (!hasGo) {
  const problem =
    'NO GO: the log is not checked with the code of others. Install golang-go and golang-golang-x-mod-dev.'
  if (process.env.CI === 'true') throw new Error(problem)
  console.warn(`\n\x1b[1;33m!!! ${problem}\x1b[0m\n`)
}
