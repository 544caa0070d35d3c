import { execFile } from 'node:child_process'
import { cp, mkdir, symlink } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'

/**
 * Copies what a fresh clone would hold, with changes that are not committed yet, and links both `node_modules`.
 * Files that git ignores are left out, and so is everything that was built.
 */
export async function copyWorkingTree(target: string): Promise<void> {
  const args = ['ls-files', '-z', '--cached', '--others', '--exclude-standard', '--deduplicate']
  const { stdout } = await promisify(execFile)('git', args)
  for (const file of stdout.split('\0').filter((name) => name !== '')) {
    await mkdir(path.dirname(path.join(target, file)), { recursive: true })
    // A file that was deleted but whose deletion is not committed yet does not exist.
    await cp(file, path.join(target, file)).catch(() => {})
  }
  for (const installed of ['node_modules', 'test/node_modules'])
    await symlink(path.resolve(installed), path.join(target, installed))
}
