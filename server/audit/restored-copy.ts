import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { Database } from '../../db/connection/connect.ts'
import {
  deleteOldMarks,
  keepMarksMs,
  lastUseOf,
  markUse,
  readIncarnation,
  readMark,
  recordCopy,
  type Incarnation,
  type LastSeen,
  type ProcessState,
} from '../../db/incarnation.ts'
import { describeError } from '../observability/security-log.ts'

/** A copy that is younger than this is not noticed when a process is killed; one that stops marks its end. */
export const markEveryMs = 15_000

/** A process that remembers nothing asks the operator when the database was not in use for this long. */
const quietMs = 10 * 60_000

/** A process that stops waits this long for its last mark; the database may be away. */
const lastMarkMs = 1_000

/** Keeps what a process remembers of the database for its next start. */
type Memory = {
  read(): Promise<LastSeen | null>
  write(lastSeen: LastSeen): Promise<void>
}

/** This process as its marks name it. */
export type OwnMark = { readonly markId: string; readonly state: () => ProcessState }

/**
 * Notices that the database is a restored copy, in which sessions, passwords and keys that were ended since are
 * valid again, and logs the command for it. Nothing is refused: a failover that lost the last transactions looks
 * the same.
 *
 * Each process marks its use of the database, and remembers its mark in `memory` and while it runs. A database whose
 * mark is older, or missing, has gone back. The first process that notices it records it for the others, whatever
 * they remember.
 */
export async function watchForRestoredCopy(
  app: FastifyInstance,
  database: Database,
  {
    markId,
    state,
    memory,
    everyMs = markEveryMs,
  }: OwnMark & {
    readonly memory: Memory
    readonly everyMs?: number
  },
): Promise<void> {
  let remembered: LastSeen | null = null
  let isReported = false
  let isComparable = true

  function report(copyOf: number): void {
    if (isReported) return
    isReported = true
    const run = commandFor(copyOf)
    app.log.warn({ run }, 'this database is a restored copy: run this command')
  }

  async function look(): Promise<void> {
    const found = await readIncarnation(database)
    const copyOf = found.noticedCopyOf ?? (await noticeCopy(database, found, remembered))
    if (copyOf === null) isReported = false
    else report(copyOf)
    const seenAt = await markUse(database, markId, state())
    const { ledgerId, incarnationId } = found
    remembered = { ledgerId, incarnationId, markId, seenAt }
    await memory.write(remembered)
  }

  async function start(): Promise<void> {
    remembered = await memory.read()
    const lastUseAt = await lastUseOf(database, null)
    const wasLastHere = remembered !== null && remembered.seenAt === lastUseAt
    await look()
    const quietSince = lastUseAt ?? Infinity
    const isQuiet = (remembered?.seenAt ?? 0) - quietSince > quietMs
    if (isQuiet && !wasLastHere && !isReported) {
      const run = commandFor(quietSince)
      app.log.warn({ run }, 'this database was not in use for long: if it is a copy, run this')
    }
    await deleteOldMarks(database)
  }

  async function orLog(work: () => Promise<void>): Promise<void> {
    try {
      await work()
      isComparable = true
    } catch (error) {
      if (isComparable)
        app.log.warn(describeError(error), 'this database cannot be compared with its last use')
      isComparable = false
    }
  }

  await orLog(start)
  const timer = setInterval(() => void orLog(look), everyMs)
  timer.unref()
  app.addHook('onClose', async () => {
    clearInterval(timer)
    await Promise.race([orLog(look), sleep(lastMarkMs, undefined, { ref: false })])
  })
}

/** @returns when the copy was in use last; null if the database is not older than what is remembered */
async function noticeCopy(
  database: Database,
  found: Incarnation,
  remembered: LastSeen | null,
): Promise<number | null> {
  if (remembered === null || !(await hasGoneBack(database, found, remembered))) return null
  const copyOf = (await lastUseOf(database, remembered.seenAt)) ?? remembered.seenAt
  await recordCopy(database, found.incarnationId, copyOf)
  return copyOf
}

async function hasGoneBack(
  database: Database,
  found: Incarnation,
  { ledgerId, incarnationId, markId, seenAt }: LastSeen,
): Promise<boolean> {
  if (ledgerId !== found.ledgerId || found.now - seenAt > keepMarksMs) return false
  // Of before `ledger restored`, which has dealt with it; or of after it, which this copy does not know.
  if (incarnationId !== found.incarnationId) return !found.incarnationIds.includes(incarnationId)
  const markedAt = await readMark(database, markId)
  return markedAt === null || markedAt < seenAt
}

function commandFor(copyOf: number): string {
  return `token-ledger ledger restored --at ${new Date(copyOf).toISOString()}`
}
