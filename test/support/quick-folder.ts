import { mkdtempSync, statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Where Linux keeps files in memory. */
const inMemory = '/dev/shm'

/** More than the databases of a whole run take; containers often have 64 MB. */
const neededBytes = 3 * 1024 ** 3

/**
 * Makes a folder for files of Postgres, in memory where there is room. On a disk that other processes write to, a copy
 * of the template takes ten times as long.
 */
export function makeQuickFolder(prefix: string): string {
  return mkdtempSync(join(hasRoom() ? inMemory : tmpdir(), prefix))
}

function hasRoom(): boolean {
  try {
    const { bavail, bsize } = statfsSync(inMemory)
    return bavail * bsize > neededBytes
  } catch {
    return false
  }
}
