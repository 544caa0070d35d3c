import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { checkLedger } from '../../db/audit/check.ts'
import { readLedger } from '../../db/audit/export.ts'
import { writeExport } from '../audit/write-export.ts'
import { jsonLine } from '../audit/json-line.ts'
import { verifyExport } from '../audit/verify-export.ts'
import { exactlyOne, periodOf } from './arguments.ts'
import type { Command, LoneCommand } from './command.ts'
import { withDatabase } from './database.ts'
import { pluralize, createProgress, printable } from './output.ts'

export const ledgerVerify: Command = {
  usage: '[--json]',
  summary: 'checks every hash and every history; exit 1 if it finds a problem',
  async run(args, config) {
    const { values } = parseArgs({
      args: [...args],
      options: { json: { type: 'boolean', default: false } },
    })
    const { broken, families, events } = await withDatabase(
      config,
      { role: 'token_ledger_app' },
      ({ sql }) => checkLedger(sql, createProgress()),
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
  async run(args, config) {
    const { values } = parseArgs({
      args: [...args],
      options: { from: { type: 'string' }, to: { type: 'string' } },
    })
    const period = periodOf(values.from, values.to)
    const found = await withDatabase(config, { role: 'token_ledger_app' }, ({ sql }) => {
      const read = (take: Parameters<typeof readLedger>[2]) => readLedger(sql, period, take)
      return writeExport(process.stdout, { period, read }, createProgress())
    })
    console.error(summary(found))
    return 0
  },
}

export const ledgerVerifyExport: LoneCommand = {
  usage: 'FILE',
  summary: 'checks an export without a database; exit 1 if it finds a problem',
  async runAlone(args) {
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
  console.error(`${what}: ${summary(found)}`)
  return found.problems === 0 ? 0 : 1
}

function summary({ families, events }: { families: number; events: number }): string {
  return `${pluralize(families, 'family', 'families')}, ${pluralize(events, 'event')}`
}
