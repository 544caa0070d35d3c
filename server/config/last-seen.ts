import type { Stats } from 'node:fs'
import { open, readFile, rename, stat } from 'node:fs/promises'
import path from 'node:path'
import type { LastSeen } from '../../db/incarnation.ts'

/** Where a process keeps what it remembers of the database, for its next start. */
export type LastSeenStore = {
  read(): Promise<LastSeen | null>
  write(lastSeen: LastSeen): Promise<void>
}

/**
 * A file in the data folder, if there is such a folder: none is made for it. A file that cannot be read or written
 * is like none, because a container may have a read-only disk and a service works without the file. So is a file that
 * was copied: with the whole data folder, an old file is restored as well.
 */
export function lastSeenFile(dataDir: string): LastSeenStore {
  const file = path.join(dataDir, 'last-seen.json')
  return {
    async read() {
      try {
        const kept = JSON.parse(await readFile(file, 'utf8')) as LastSeen & { original: string }
        return kept.original === identityOf(await stat(file)) ? kept : null
      } catch {
        return null
      }
    },
    async write(lastSeen) {
      try {
        const draft = `${file}.${process.pid}`
        const handle = await open(draft, 'w')
        try {
          const original = identityOf(await handle.stat())
          await handle.writeFile(`${JSON.stringify({ ...lastSeen, original })}\n`)
        } finally {
          await handle.close()
        }
        await rename(draft, file)
      } catch {
        // As without a folder.
      }
    },
  }
}

/** Of a file and not of its copies. A rename keeps it. */
function identityOf({ ino, birthtimeMs }: Stats): string {
  return `${ino} ${birthtimeMs}`
}
