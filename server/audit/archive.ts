import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, unlink } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { finished } from 'node:stream/promises'
import type postgres from 'postgres'
import { insertAdminAction } from '../../db/audit/admin-actions.ts'
import {
  countOpenFamilies,
  dropMonths,
  freezeMonths,
  listClosedMonths,
} from '../../db/ledger/archive.ts'
import { readRecords, type Found } from '../../db/audit/export.ts'
import { fenced } from '../../db/connection/transaction.ts'
import { CannotWrite, writeExport } from './write-export.ts'
import { verifyExport } from './verify-export.ts'

/** Something in the months is wrong or not over: nothing was dropped, and no file is left. */
export class ArchiveRefused extends Error {}

export type Archived = Found & { readonly months: readonly string[]; readonly sha256: string }

/**
 * Moves the months that ended before `beforeAt` into a file and out of the database, in one transaction: write,
 * verify the file as it is on the disk, drop. When any of it fails, the ledger is as it was.
 *
 * @param sql as the owner of the tables
 * @param to.file must not exist
 * @returns null when no month had ended by then
 * @throws {ArchiveRefused} when a family of these months is still open, or the ledger does not verify
 * @throws {CannotWrite} when the file is there, or cannot be written
 */
export async function archiveLedger(
  sql: postgres.Sql,
  to: { beforeAt: number; file: string },
  onRecord: (found: Found) => void = () => {},
): Promise<Archived | null> {
  const { file } = to
  let isOurs = false
  try {
    const result = await sql.begin(async (tx) => {
      const months = await listClosedMonths(tx, to.beforeAt)
      const [first] = months
      const last = months.at(-1)
      if (first === undefined || last === undefined) return { archived: null }
      await freezeMonths(tx, months)
      for (const month of months) {
        const openFamilies = await countOpenFamilies(tx, month)
        if (openFamilies > 0)
          throw new ArchiveRefused(
            `families of ${month.month} that are still open: ${openFamilies}`,
          )
      }
      const out = (await onDisk(file, open(file, 'wx', 0o600))).createWriteStream()
      isOurs = true
      const period = { fromAt: beginOf(first.month), toAt: endOf(last.month) }
      const read = async (take: Parameters<typeof readRecords>[2]) => {
        const found = { families: 0, events: 0 }
        for (const { month } of months) {
          const part = { fromAt: beginOf(month), toAt: endOf(month) }
          const { families, events } = await readRecords(tx, part, take)
          found.families += families
          found.events += events
        }
        return found
      }
      const found = await writeExport(out, { period, read }, onRecord)
      out.end()
      await onDisk(
        file,
        finished(out).then(() => keep(file)),
      )
      const sha256 = await verified(file, found)
      const names = months.map(({ month }) => month)
      await insertAdminAction(await fenced(tx), {
        action: 'ledger_archived',
        actorUserId: null,
        reason: `${names[0]} to ${names.at(-1)}: ${found.families} families, ${found.events} events, sha256 ${sha256}`,
      })
      await dropMonths(tx, months)
      return { archived: { ...found, months: names, sha256 } }
    })
    return result.archived
  } catch (error) {
    if (isOurs) await unlink(file)
    throw error
  }
}

/** What a disk says is not taken for what the database says. */
async function onDisk<T>(file: string, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    throw new CannotWrite(file, error)
  }
}

/** On the disk before the only other copy is dropped. */
async function keep(file: string): Promise<void> {
  const handle = await open(file, 'r')
  await handle.sync()
  await handle.close()
}

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
