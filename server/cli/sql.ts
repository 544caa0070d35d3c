import { runReadOnly } from '../../db/audit/read-only-query.ts'
import { UsageError, type Command } from './command.ts'
import { withDatabase } from './database.ts'
import { printable, table } from './output.ts'

export const sqlCommand: Command = {
  usage: '"select …"',
  summary:
    "asks token_audit, as the auditor and read only; no wall against hostile SQL: paste no stranger's",
  async run(args, config) {
    const [statement, ...more] = args
    if (statement === undefined || more.length > 0) throw new UsageError('one statement, in quotes')
    const found = await withDatabase(config, { role: 'token_ledger_auditor' }, ({ transactions }) =>
      runReadOnly(transactions, statement),
    )
    if (found === null) throw new UsageError('one statement that returns rows is needed')
    for (const line of table(found.columns, found.rows.map(toCells))) console.log(line)
    return 0
  },
}

function toCells(row: readonly unknown[]): string[] {
  return row.map((value) => {
    if (value === null || value === undefined) return '–'
    if (Buffer.isBuffer(value)) return value.toString('hex')
    return printable(typeof value === 'string' ? value : JSON.stringify(value))
  })
}
