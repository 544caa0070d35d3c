import { execFile } from 'node:child_process'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const run = promisify(execFile)

test('what a running service serves from stays whole while a build goes on, and when it fails', async () => {
  const project = mkdtempSync(path.join(tmpdir(), 'token-ledger-build-'))
  cpSync('package.json', path.join(project, 'package.json'))
  mkdirSync(path.join(project, 'dist'))
  writeFileSync(path.join(project, 'dist/main.js'), 'running')
  // A compiler that notes what is there while it works, and then fails.
  const bin = path.join(project, 'node_modules/.bin')
  mkdirSync(bin, { recursive: true })
  writeFileSync(path.join(bin, 'tsc'), '#!/bin/sh\nls dist >seen 2>&1\nexit 1\n', { mode: 0o755 })
  try {
    await expect(run('npm', ['run', '--silent', 'build'], { cwd: project })).rejects.toThrow()
    expect(readFileSync(path.join(project, 'seen'), 'utf8')).toBe('main.js\n')
    expect(readdirSync(path.join(project, 'dist'))).toEqual(['main.js'])
  } finally {
    rmSync(project, { recursive: true })
  }
})
