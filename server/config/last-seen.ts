import { existsSync } from 'node:fs'
import { readFile, rename, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { LastSeen } from '../../db/incarnation.ts'

/** Where a process keeps what it remembers of the database, for its next start. */
export type LastSeenStore = {
  read(): Promise<LastSeen | null>
  write(lastSeen: LastSeen): Promise<void>
}

/**
 * A file in the data folder, if there is such a folder: none is made for it. A file that cannot be read or written
 * is like none, because a container may have a read-only disk and a service works without the file.
 */
export function lastSeenFile(dataDir: string): LastSeenStore {
  const file = path.join(dataDir, 'last-seen.json')
  return {
    async read() {
      try {
        return JSON.parse(await readFile(file, 'utf8')) as LastSeen
      } catch {
        return null
      }
    },
    async write(lastSeen) {
      if (!existsSync(dataDir)) return
      const draft = `${file}.${process.pid}`
      await writeFile(draft, `${JSON.stringify(lastSeen)}\n`)
        .then(() => rename(draft, file))
        .catch(() => {})
    },
  }
}
