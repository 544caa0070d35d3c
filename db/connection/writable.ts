import type { Statements } from './connect.ts'

/** Whether the connection may write: not on a standby, and not in a database that was set read-only. */
export async function isWritable({ statements }: Pick<Statements, 'statements'>): Promise<boolean> {
  const [row] = await statements<{ isWritable: boolean }[]>`
    select current_setting('transaction_read_only') = 'off' as "isWritable"`
  return row?.isWritable === true
}
