import { EventEmitter, once } from 'node:events'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { connect, type Database } from '../../db/connection/connect.ts'
import { inTransaction } from '../../db/connection/transaction.ts'
import { isUnavailable } from '../../db/connection/errors.ts'
import { freshDatabase, type FreshDatabase } from '../support/database.ts'

let owner: FreshDatabase
let database: Database
beforeAll(async () => {
  owner = await freshDatabase()
  await owner.ownerSql`create table public.note (text text)`
  database = connect(owner.url)
})
afterAll(async () => {
  await database.close()
  await owner[Symbol.asyncDispose]()
})

test('after the connection was lost, later statements are not sent, not even on another one', async () => {
  const steps = new EventEmitter()
  const begun = once(steps, 'begun')
  const transaction = inTransaction(database.transactions, async (tx) => {
    const [row] = await tx<{ pid: number }[]>`select pg_backend_pid() as pid`
    steps.emit('begun', row!.pid)
    await once(steps, 'lost')
    try {
      await tx`insert into public.note values ('late')`
    } finally {
      steps.emit('over')
    }
  })
  const lost = transaction.catch((error: Error) => error)
  const [pid] = await begun
  await owner.ownerSql`select pg_terminate_backend(${pid})`
  expect(await lost).toBeInstanceOf(Error)
  const over = once(steps, 'over')
  steps.emit('lost')
  await over
  expect(await owner.ownerSql`select from public.note`).toHaveLength(0)
})

test.each(['40001', '40P01', '23505'])(
  'FS-05 (ASVS 15.4.3): %s is retried, three tries at most',
  async (state) => {
    let tries = 0
    const failed = inTransaction(database.transactions, async (tx) => {
      tries += 1
      await tx.unsafe(`do $$ begin raise exception 'conflict' using errcode = '${state}'; end $$`)
    })
    await expect(failed).rejects.toMatchObject({ code: state })
    expect(tries).toBe(3)
  },
)

test('any other error is thrown at once, and nothing is committed', async () => {
  let tries = 0
  const failed = inTransaction(database.transactions, async (tx) => {
    tries += 1
    await tx`insert into public.note values ('half')`
    await tx`select 1 / 0`
  })
  await expect(failed).rejects.toMatchObject({ code: '22012' })
  expect(tries).toBe(1)
  expect(await owner.ownerSql`select from public.note where text = 'half'`).toHaveLength(0)
})

const unreachable =
  'CONNECTION_CLOSED CONNECT_TIMEOUT ECONNRESET EPIPE EAI_AGAIN EAI_FAIL ERR_STREAM_DESTROYED ' +
  'ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE CERT_HAS_EXPIRED SELF_SIGNED_CERT_IN_CHAIN ' +
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE'

test.each(unreachable.split(' '))(
  'FS-01 (ASVS 16.5.3): %s counts as an unavailable database',
  (code) => {
    expect(isUnavailable(Object.assign(new Error('no'), { code }))).toBe(true)
  },
)

test.each(['ERR_INVALID_ARG_TYPE', 'UNDEFINED_VALUE', '22012', ''])(
  "FS-01 (ASVS 16.5.3): the error code '%s' counts as an internal error",
  (code) => {
    expect(isUnavailable(Object.assign(new Error('no'), { code }))).toBe(false)
  },
)
