import { expect, test } from 'vitest'
import { connect } from '../../db/connection/connect.ts'
import { freshDatabase } from '../support/database.ts'

test('what an owner writes is guarded, also where the database makes each session a replica', async () => {
  await using owner = await freshDatabase()
  const name = new URL(owner.url).pathname.slice(1)
  await owner.ownerSql.unsafe(`alter database ${name} set session_replication_role = replica`)
  const database = connect(owner.url)
  try {
    const sql = database.statements
    expect(await sql`show session_replication_role`).toMatchObject([
      { session_replication_role: 'replica' },
    ])
    const [action] = await sql`
      insert into token_ledger.admin_action (action) values ('user_created') returning hash`
    expect(action!['hash']).toHaveLength(32)
    await sql`
      insert into token_ledger.signing_key (kid, public_jwk, sealed_private_key, created_at, signs_from)
      values ('spent', '{}', '', now(), now())`
    await sql`delete from token_ledger.signing_key where kid = 'spent'`
    expect(await sql`select kid from token_ledger.signing_key_removal`).toEqual([{ kid: 'spent' }])
  } finally {
    await database.close()
  }
})
