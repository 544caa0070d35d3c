import { UsageError, type Command } from './command.ts'
import { withDatabase } from './database.ts'
import { printable, table } from './output.ts'

export const sqlCommand: Command = {
  usage: '"select …"',
  does: 'asks token_audit, as the auditor: it can read that and nothing else',
  async run(args, config) {
    const [statement, ...more] = args
    if (statement === undefined || more.length > 0) throw new UsageError('one statement, in quotes')
    const rows = await withDatabase(config, { role: 'token_ledger_auditor' }, ({ sql }) =>
      sql.begin('read only', (tx) => tx.unsafe(statement).values()),
    )
    const titles = rows.columns.map(({ name }) => name)
    for (const line of table(titles, rows.map(toCells))) console.log(line)
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
