import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { asAdmin } from '../support/admin.ts'
import { emptyDatabase, type FreshDatabase } from '../support/database.ts'
import type { Held } from './make-ledger.ts'

/** What clients and people held of the ledger of commit 46fbb0c. */
export const held = JSON.parse(read('ledger-46fbb0c.json').toString()) as Held

/**
 * Restores the dump of commit 46fbb0c with its schema, as `psql` does: rows before triggers, so that no guard is
 * disabled. The roles are those of the test's cluster.
 */
export async function restoreOldLedger(): Promise<FreshDatabase> {
  const database = await emptyDatabase()
  const dump = gunzipSync(read('ledger-46fbb0c.sql.gz')).toString()
  // On a connection of its own, because the dump sets parameters of its session.
  await asAdmin(database.url, (sql) => sql.unsafe(dump).simple())
  return database
}

function read(name: string): Buffer {
  return readFileSync(new URL(name, import.meta.url))
}
