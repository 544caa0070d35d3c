import { createReadStream } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { checkLedger } from '../../db/audit/check.ts'
import { readLedger } from '../../db/audit/export.ts'
import { writeExport } from '../audit/write-export.ts'
import { jsonLine } from '../audit/json-line.ts'
import { verifyExport } from '../audit/verify-export.ts'
import { openCheckpoint } from '../evidence/checkpoint.ts'
import { comparingWithLog, type EventOutsideLog } from '../evidence/export-in-log.ts'
import type { HashSet } from '../evidence/hash-set.ts'
import { readPublishedLog } from '../evidence/published.ts'
import { verifyLog } from '../evidence/verify-log.ts'
import { exactlyOne, periodOf } from './arguments.ts'
import { UsageError, type Command } from './command.ts'
import { keyArgument, readFile } from './log.ts'
import { asService, withDatabase } from './database.ts'
import { counts, createProgress, pluralize, printable } from './output.ts'

export const ledgerVerify: Command = {
  usage: '[--checkpoint FILE --key VKEY] [--json]',
  summary:
    'checks every hash and every history, and compares them with a kept checkpoint; exit 1 if it finds a problem',
  async run(args, readConfig) {
    const { values } = parseArgs({
      args: [...args],
      options: {
        checkpoint: { type: 'string' },
        key: { type: 'string' },
        json: { type: 'boolean', default: false },
      },
    })
    const kept = values.checkpoint === undefined ? null : openKept(values.checkpoint, values.key)
    const { broken, families, events, log } = await withDatabase(
      readConfig(),
      asService,
      async (database) => ({
        log: kept && (await verifyLog(database, kept.checkpoint, [kept.key])),
        ...(await checkLedger(database.transactions, createProgress())),
      }),
    )
    const problems = broken.length + (log?.problems.length ?? 0)
    if (values.json)
      console.log(
        jsonLine({ intact: problems === 0, families, events, broken, ...(log && { log }) }),
      )
    else {
      for (const { familyId, firstBrokenSeq, problem } of broken)
        console.log(`${familyId}  event ${firstBrokenSeq}  ${problem}`)
      for (const problem of log?.problems ?? []) console.log(problem)
    }
    return verdict({ families, events, problems })
  },
}

export const ledgerExport: Command = {
  usage: '[--from T] [--to T]',
  summary: 'writes the families that began in the period as JSON Lines',
  async run(args, readConfig) {
    const { values } = parseArgs({
      args: [...args],
      options: { from: { type: 'string' }, to: { type: 'string' } },
    })
    const period = periodOf(values.from, values.to)
    const found = await withDatabase(readConfig(), asService, ({ transactions: sql }) => {
      const read = (take: Parameters<typeof readLedger>[2]) => readLedger(sql, period, take)
      return writeExport(process.stdout, { period, read }, createProgress())
    })
    console.error(counts(found))
    return 0
  },
}

export const ledgerVerifyExport: Command = {
  usage: 'FILE [--log DIR [--checkpoint FILE] --key VKEY]',
  summary:
    'checks an export without a database, and whether a published log has its events; exit 1 if it finds a problem',
  async run(args) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        log: { type: 'string' },
        checkpoint: { type: 'string' },
        key: { type: 'string' },
      },
    })
    const name = exactlyOne(positionals, 'file')
    if (values.log === undefined && values.checkpoint !== undefined)
      throw new UsageError('--checkpoint needs --log: the published log that continues it')
    const entries = values.log === undefined ? null : await openPublished(values.log, values)
    const file = createReadStream(name)
    const lines = createInterface({ input: file, crlfDelay: Infinity })
    const failed = new Promise<never>((_, reject) => file.once('error', reject))
    const outside: EventOutsideLog[] = []
    const compared = entries
      ? comparingWithLog(lines, entries, (event) => outside.push(event))
      : lines
    const report = await Promise.race([verifyExport(compared, createProgress()), failed])
    for (const { familyId, seq } of outside)
      console.log(`${printable(familyId, 36)}  event ${seq}  is not in the log`)
    for (const { familyId, seq, problem } of report.problems)
      console.log(
        [familyId, seq === null ? null : `event ${seq}`, printable(problem, 200)]
          .filter((part) => part !== null)
          .join('  '),
      )
    return verdict({ ...report, problems: report.problems.length + outside.length })
  },
}

/** @throws {NoteError} when the file is no checkpoint that this key has signed */
function openKept(file: string, key: string | undefined) {
  const verifierKey = keyArgument(key)
  return { key: verifierKey, checkpoint: openCheckpoint(readFile(file), [verifierKey]) }
}

/** The entries of a published log up to its checkpoint. It has to continue the kept one, if there is one. */
async function openPublished(
  folder: string,
  { key, checkpoint }: { key?: string | undefined; checkpoint?: string | undefined },
): Promise<HashSet> {
  const own = openKept(path.join(folder, 'checkpoint'), key)
  const kept = checkpoint === undefined ? null : openKept(checkpoint, key).checkpoint
  return readPublishedLog(folder, own.checkpoint, kept)
}

function verdict(found: { families: number; events: number; problems: number }): number {
  const what = found.problems === 0 ? 'intact' : `${pluralize(found.problems, 'problem')} found`
  console.error(`${what}: ${counts(found)}`)
  return found.problems === 0 ? 0 : 1
}
