import { readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'

/** Whether the process named in the lock works in the folder. Its guard may do so for a second longer. */
export function isInUse(cluster: string): boolean {
  try {
    const [pid = ''] = readFileSync(join(cluster, 'postmaster.pid'), 'utf8').split('\n')
    return worksIn(pid, cluster)
  } catch {
    return false
  }
}

export function worksIn(pid: string, folder: string): boolean {
  try {
    return readlinkSync(`/proc/${pid}/cwd`) === folder
  } catch {
    return false
  }
}
