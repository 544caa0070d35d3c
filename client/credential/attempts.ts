import { keepOnDisk } from './disk-list.ts'
import type { Notes } from './notes.ts'

/** Chromium writes a changed cookie within 30 s. */
const cookieIsWrittenMs = 60_000
/** The server takes 20 ids beside that of the attempt itself. */
const maxPrevious = 20

/**
 * The attempts since the cookie that the browser may come back with. A browser that dies writes no cookie of its last
 * seconds, and its next refresh presents an older one: the server answers it if the client names every attempt since.
 */
export type Attempts = {
  /**
   * Notes an attempt before its request is sent, on the disk where the browser lets it.
   *
   * @returns the ids of the attempts before it
   */
  begin(attemptId: string): Promise<string[]>
  /** Its answer is there, with its cookie. */
  settled(attemptId: string): void
}

export function openAttempts(notes: Notes, owner: string): Attempts {
  let settled: { readonly id: string; readonly at: number } | null = null

  /** This page has lived for a minute since its last attempt: the cookie of that one is on the disk. */
  function withoutWritten(ids: readonly string[]): readonly string[] {
    if (settled === null || performance.now() - settled.at < cookieIsWrittenMs) return ids
    return ids.slice(Math.max(0, ids.indexOf(settled.id)))
  }

  return {
    async begin(attemptId) {
      const add = (known: readonly string[]) => {
        const others = withoutWritten([...new Set(known)].filter((id) => id !== attemptId))
        return [...others.slice(-maxPrevious), attemptId]
      }
      const noted = notes.get('attempts')?.split(' ') ?? []
      const onDisk = await keepOnDisk(owner, (stored) => add([...stored, ...noted]))
      const attempts = onDisk ?? add(noted)
      notes.set('attempts', attempts.join(' '))
      return attempts.slice(0, -1)
    },
    settled(attemptId) {
      settled = { id: attemptId, at: performance.now() }
    },
  }
}
