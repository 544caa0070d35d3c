import { randomUUID } from 'node:crypto'
import { link, mkdir, open, readdir, readFile, unlink } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import type { TokenStorage } from '../storage.ts'

export type FileStoreOptions = {
  /** Stores the access token as well: see {@link TokenStorage}. */
  readonly keepAccessToken?: boolean
}

/**
 * Stores the refresh token of a Node tool in files `<path>.1`, `<path>.2`, …, readable only by their owner. The
 * highest number is the current version.
 *
 * Any number of processes may share the store, and each may be killed at any moment: a version is written to a
 * temporary file and then hard-linked to its number, which succeeds for one process only. So there is no lock
 * file that could be left behind. The file system must support hard links.
 */
export function fileStore(path: string, options: FileStoreOptions = {}): TokenStorage {
  const folder = dirname(resolve(path))
  const name = basename(path)

  async function versions(): Promise<number[]> {
    const files = await readdir(folder).catch(noneIfMissing)
    return files
      .filter((file) => file.startsWith(`${name}.`) && /^\d+$/.test(file.slice(name.length + 1)))
      .map((file) => Number(file.slice(name.length + 1)))
      .toSorted((one, other) => one - other)
  }

  async function read(): Promise<{ version: number; text: string | null }> {
    for (;;) {
      const version = (await versions()).at(-1) ?? 0
      if (version === 0) return { version, text: null }
      try {
        const text = await readFile(join(folder, `${name}.${version}`), 'utf8')
        return { version, text: text === '' ? null : text }
      } catch (error) {
        // Removed after the listing: there is a newer version.
        if (!isCode(error, 'ENOENT')) throw error
      }
    }
  }

  return {
    ...options,
    load: async () => (await read()).text,

    async swap(expected, next) {
      const { version, text } = await read()
      if (text !== expected) return false
      await mkdir(folder, { recursive: true, mode: 0o700 })
      const temporary = join(folder, `.${name}.${randomUUID()}.tmp`)
      const own = version + 1
      try {
        await write(temporary, next ?? '')
        await link(temporary, join(folder, `${name}.${own}`))
        await syncFolder(folder)
      } catch (error) {
        if (isCode(error, 'EEXIST')) return false
        throw error
      } finally {
        await remove(temporary)
      }
      const all = await versions()
      // Other processes wrote newer versions and removed the one read here: this number is stale.
      if (all.at(-1) !== own) {
        await remove(join(folder, `${name}.${own}`))
        return false
      }
      for (const old of all.slice(0, -1)) await remove(join(folder, `${name}.${old}`))
      return true
    },
  }
}

async function write(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx', 0o600)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Without this the file itself is on the disk after a power failure, but not its name. */
async function syncFolder(path: string): Promise<void> {
  // Windows opens no folder.
  if (process.platform === 'win32') return
  const folder = await open(path)
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

async function remove(path: string): Promise<void> {
  await unlink(path).catch(noneIfMissing)
}

function noneIfMissing(error: unknown): [] {
  if (isCode(error, 'ENOENT')) return []
  throw error
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
