import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { checkLedger } from '../../db/audit/check.ts'
import { readLedger } from '../../db/audit/export.ts'
import { writeExport } from '../audit/write-export.ts'
import { jsonLine } from '../audit/json-line.ts'
import { verifyExport } from '../audit/verify-export.ts'
import { exactlyOne, periodOf } from './arguments.ts'
import type { Command } from './command.ts'
import { asService, withDatabase } from './database.ts'
import { counts, createProgress, pluralize, printable } from './output.ts'

export const ledgerVerify: Command = {
  usage: '[--json]',
  summary: 'checks every hash and every history; exit 1 if it finds a problem',
  async run(args, readConfig) {
    const { values } = parseArgs({
      args: [...args],
      options: { json: { type: 'boolean', default: false } },
    })
    const { broken, families, events } = await withDatabase(
      readConfig(),
      asService,
      ({ transactions: sql }) => checkLedger(sql, createProgress()),
    )
    if (values.json)
      console.log(jsonLine({ intact: broken.length === 0, families, events, broken }))
    else
      for (const { familyId, firstBrokenSeq, problem } of broken)
        console.log(`${familyId}  event ${firstBrokenSeq}  ${problem}`)
    return verdict({ families, events, problems: broken.length })
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
  usage: 'FILE',
  summary: 'checks an export without a database; exit 1 if it finds a problem',
  async run(args) {
    const { positionals } = parseArgs({ args: [...args], allowPositionals: true, options: {} })
    const file = createReadStream(exactlyOne(positionals, 'file'))
    const lines = createInterface({ input: file, crlfDelay: Infinity })
    const failed = new Promise<never>((_, reject) => file.once('error', reject))
    const report = await Promise.race([verifyExport(lines, createProgress()), failed])
    for (const { familyId, seq, problem } of report.problems)
      console.log(
        [familyId, seq === null ? null : `event ${seq}`, printable(problem, 200)]
          .filter((part) => part !== null)
          .join('  '),
      )
    return verdict({ ...report, problems: report.problems.length })
  },
}

function verdict(found: { families: number; events: number; problems: number }): number {
  const what = found.problems === 0 ? 'intact' : `${pluralize(found.problems, 'problem')} found`
  console.error(`${what}: ${counts(found)}`)
  return found.problems === 0 ? 0 : 1
}
