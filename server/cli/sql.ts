import { UsageError, type Command } from './command.ts'
import { withDatabase } from './database.ts'
import { formatTable } from './table.ts'

export const sqlCommand: Command = {
  usage: '"select …"',
  does: 'asks token_audit, as the auditor: it can read that and nothing else',
  async run(args, config) {
    const [statement, ...more] = args
    if (statement === undefined || more.length > 0) throw new UsageError('one statement, in quotes')
    const rows = await withDatabase(config, { role: 'token_ledger_auditor' }, ({ sql }) =>
      sql.begin('read only', (tx) => tx.unsafe(statement).values()),
    )
    const names = rows.columns.map(({ name }) => name)
    console.log(formatTable(names, rows))
    return 0
  },
}
