import {
  chownSync,
  existsSync,
  lchownSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import { join } from 'node:path'
import type { PostgresHome, RunAs } from './postgres-home.ts'

const prefix = '.unfinished-'
// Filling takes seconds. The process that made an older one was killed.
const abandonedMs = 3600 * 1000

/**
 * Fills a new folder under a temporary name and then renames it. A start that is killed half-way leaves no incomplete
 * folder, and of two processes that make the same folder, the first wins and both use it.
 */
export function makeFolder(
  home: PostgresHome,
  place: string,
  fill: (unfinished: string) => void,
): void {
  removeAbandoned(home.folder)
  const unfinished = mkdtempSync(join(home.folder, prefix))
  try {
    if (home.runAs !== undefined) giveAway(unfinished, home.runAs)
    fill(unfinished)
    if (home.runAs !== undefined) giveAway(unfinished, home.runAs)
    renameSync(unfinished, place)
  } catch (error) {
    rmSync(unfinished, { recursive: true, force: true })
    // The other process may also have closed the folder around this one meanwhile.
    if (!existsSync(place)) throw error
  }
}

/** Makes this user the owner of the folder and of everything in it. */
export function giveAway(folder: string, { uid, gid }: RunAs): void {
  chownSync(folder, uid, gid)
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    lchownSync(join(folder, name), uid, gid)
  }
}

function removeAbandoned(folder: string): void {
  for (const name of readdirSync(folder).filter((each) => each.startsWith(prefix))) {
    const place = join(folder, name)
    const changedAt = statSync(place, { throwIfNoEntry: false })?.mtimeMs ?? Date.now()
    if (Date.now() - changedAt > abandonedMs) rmSync(place, { recursive: true, force: true })
  }
}
