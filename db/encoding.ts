import type postgres from 'postgres'

/** UTF-8 holds every name and address; SQL_ASCII holds any bytes. */
const usable = new Set(['UTF8', 'SQL_ASCII'])

/** @throws {Error} when the encoding of the database cannot hold what callers send */
export async function assertEncoding(sql: postgres.Sql): Promise<void> {
  const [row] = await sql<{ encoding: string }[]>`
    select current_setting('server_encoding') as encoding`
  const encoding = row?.encoding ?? 'unknown'
  if (!usable.has(encoding))
    throw new Error(
      `the encoding of the database is ${encoding}, which cannot hold every name: create another one with encoding 'UTF8', such as create database ledger encoding 'UTF8' template template0`,
    )
}
