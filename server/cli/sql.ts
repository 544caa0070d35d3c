import { runReadOnly } from '../../db/audit/read-only-query.ts'
import { UsageError, type Command } from './command.ts'
import { withDatabase } from './database.ts'
import { printable, table } from './output.ts'

export const sqlCommand: Command = {
  usage: '"select …"',
  summary: 'runs one read-only query as the auditor role; not a security boundary',
  async run(args, readConfig) {
    const [statement, ...more] = args
    if (statement === undefined || more.length > 0)
      throw new UsageError('expected one statement, in quotes')
    const result = await withDatabase(readConfig(), { as: 'auditor' }, ({ transactions: sql }) =>
      runReadOnly(sql, statement),
    )
    if (result === null) throw new UsageError('expected one statement that returns rows')
    for (const line of table(result.columns, result.rows.map(toCells))) console.log(line)
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
