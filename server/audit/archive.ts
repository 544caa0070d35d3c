import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, unlink } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { finished } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type postgres from 'postgres'
import { insertAdminAction } from '../../db/audit/admin-actions.ts'
import { readRecords, type Found } from '../../db/audit/export.ts'
import { appendLeaves, countUnlogged } from '../../db/evidence/log.ts'
import { fenced } from '../../db/connection/transaction.ts'
import {
  type ClosedMonth,
  countOpenFamilies,
  dropMonths,
  freezeMonths,
  listClosedMonths,
  makeClosedMonths,
} from '../../db/ledger/archive.ts'
import { verifyExport } from './verify-export.ts'
import { CannotWrite, writeExport } from './write-export.ts'

/** How long an archive waits for transactions that keep events out of the log, and how often it looks. */
const logWaitMs = 60_000
const logRetryMs = 100

/** The months hold an active session or do not verify: nothing was dropped, and no file is left. */
export class ArchiveRefused extends Error {}

export type Archived = Found & { readonly months: readonly string[]; readonly sha256: string }

/**
 * Moves the months that ended before `beforeAt` into a file and out of the database, in one transaction:
 * writes the file, verifies it as it is on disk, drops the partitions. If any step fails, the ledger is
 * unchanged. Families of such a month that are in the default partition are moved to their month before.
 *
 * @param sql as the owner of the tables
 * @param to.file must not exist
 * @returns null when no month ended before `beforeAt`
 * @throws {ArchiveRefused} when a family of these months is still active, or the ledger does not verify
 * @throws {CannotWrite} when the file exists already, or cannot be written
 */
export async function archiveLedger(
  sql: postgres.Sql,
  to: { beforeAt: number; file: string },
  onRecord: (found: Found) => void = () => {},
): Promise<Archived | null> {
  const { file } = to
  let isFileCreated = false
  try {
    await makeClosedMonths(sql, to.beforeAt)
    await completeLog(sql, to.beforeAt)
    const result = await sql.begin(async (tx) => {
      const months = await listClosedMonths(tx, to.beforeAt)
      if (months.length === 0) return { archived: null }
      await freezeMonths(tx, months)
      await refuseOpenFamilies(tx, months)
      await refuseUnlogged(tx, months)
      const out = (await onDisk(file, open(file, 'wx', 0o600))).createWriteStream()
      isFileCreated = true
      const found = await writeExport(out, exportOf(tx, months), onRecord)
      out.end()
      await onDisk(file, finished(out))
      // On disk before the partitions, the only other copy, are dropped.
      await onDisk(file, flush(file))
      const sha256 = await verified(file, found)
      const names = months.map(({ month }) => month)
      await dropMonths(tx, months)
      // Last, because other admin actions wait for it.
      await insertAdminAction(await fenced(tx), {
        action: 'ledger_archived',
        actorUserId: null,
        reason: `${names[0]} to ${names.at(-1)}: ${found.families} families, ${found.events} events, sha256 ${sha256}`,
      })
      return { archived: { ...found, months: names, sha256 } }
    })
    return result.archived
  } catch (error) {
    if (isFileCreated) await unlink(file)
    throw error
  }
}

async function refuseOpenFamilies(
  tx: postgres.TransactionSql,
  months: readonly ClosedMonth[],
): Promise<void> {
  for (const month of months) {
    const openFamilies = await countOpenFamilies(tx, month)
    if (openFamilies > 0)
      throw new ArchiveRefused(`families of ${month.month} that are still open: ${openFamilies}`)
  }
}

/** Takes the months into the log, also where no service runs. Events of running transactions are waited for. */
async function completeLog(sql: postgres.Sql, beforeAt: number): Promise<void> {
  const givesUpAt = performance.now() + logWaitMs
  const months = await listClosedMonths(sql, beforeAt)
  for (const month of months)
    while ((await countUnlogged(sql, month)) > 0 && performance.now() < givesUpAt)
      if (!(await appendLeaves({ statements: sql }))) await sleep(logRetryMs)
}

async function refuseUnlogged(
  tx: postgres.TransactionSql,
  months: readonly ClosedMonth[],
): Promise<void> {
  for (const month of months) {
    const events = await countUnlogged(tx, month)
    if (events > 0)
      throw new ArchiveRefused(
        `events of ${month.month} that are not in the log yet: ${events}; they wait for a transaction that runs for long`,
      )
  }
}

/** What `writeExport` writes: the records of these months, one month after the other. */
function exportOf(
  tx: postgres.TransactionSql,
  months: readonly ClosedMonth[],
): Parameters<typeof writeExport>[1] {
  const periods = months.map(({ month }) => ({ fromAt: beginOf(month), toAt: endOf(month) }))
  const fromAt = periods[0]?.fromAt ?? null
  const toAt = periods.at(-1)?.toAt ?? null
  return {
    period: { fromAt, toAt },
    async read(take) {
      const found = { families: 0, events: 0 }
      for (const period of periods) {
        const { families, events } = await readRecords(tx, period, take)
        found.families += families
        found.events += events
      }
      return found
    },
  }
}

/** Marks file-system errors, so that they are not reported as errors of the database. */
async function onDisk<T>(file: string, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    throw new CannotWrite(file, error)
  }
}

async function flush(file: string): Promise<void> {
  const handle = await open(file, 'r')
  await handle.sync()
  await handle.close()
}

/** @returns the SHA-256 of a file that verifies and holds as much as was written */
async function verified(file: string, written: Found): Promise<string> {
  const hash = createHash('sha256')
  const stream = createReadStream(file)
  stream.on('data', (chunk) => hash.update(chunk))
  const report = await verifyExport(createInterface({ input: stream, crlfDelay: Infinity }))
  const [problem] = report.problems
  if (problem !== undefined)
    throw new ArchiveRefused(
      `${problem.familyId ?? file} event ${problem.seq ?? '?'}: ${problem.problem}`,
    )
  if (report.families !== written.families || report.events !== written.events)
    throw new ArchiveRefused(`${file} does not contain what was written to it`)
  return hash.digest('hex')
}

function beginOf(month: string): number {
  return Date.UTC(Number(month.slice(0, 4)), Number(month.slice(4)) - 1)
}

function endOf(month: string): number {
  return Date.UTC(Number(month.slice(0, 4)), Number(month.slice(4)))
}
