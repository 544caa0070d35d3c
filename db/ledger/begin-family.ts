import type postgres from 'postgres'
import type { Caller } from '../../server/ledger/caller.ts'
import type { Transport } from '../../server/ledger/events.ts'
import type { Transaction } from '../connection/transaction.ts'
import { epochMs, instantParam } from '../instant.ts'
import { fence } from './append.ts'
import { bytes } from './event-rows.ts'

export type NewFamily = {
  readonly userId: string
  /** What `userId` is derived from; null for an id that stands for itself. */
  readonly subject: string | null
  /** From `readEpoch`. */
  readonly epoch: number
  /** Of the user, before this one; null for any number. */
  readonly maxOpen: number | null
  /** A UUIDv7 whose time is replaced by that of the database. */
  readonly randomId: string
  readonly transport: Transport
  readonly deviceName: string | null
  readonly idleMs: number
  readonly absoluteMs: number
  readonly tokenHash: Buffer
  readonly methods: readonly string[]
  /** Null for the instant at which the family begins, which it may not exceed. */
  readonly authenticatedAt: number | null
  readonly caller: Caller
  /** 16 random bytes, as in `Append`. */
  readonly callerSalt: Buffer
}

/**
 * `epoch_changed`: all sessions of the user were ended since `epoch` was read. `too_many_open`: the user has `maxOpen`
 * families that may be active. Neither writes a family.
 */
export type Begun =
  | { readonly outcome: 'begun'; readonly familyId: string; readonly beganAt: number }
  | { readonly outcome: 'epoch_changed' | 'too_many_open' }

/**
 * Locks the user, as `lockUsers` does, and writes a family with its `issued` event. It is one statement, so outside of a
 * transaction it is atomic even if the connection is lost.
 *
 * @param txid of the transaction that `sql` is, if it is one
 * @throws {Error} when `sql` is not the transaction `txid`
 */
export async function beginFamily(
  sql: postgres.Sql | Transaction,
  family: NewFamily,
  txid: string | null = null,
): Promise<Begun> {
  const { caller, ...columns } = family
  const beginning = {
    user_id: columns.userId,
    subject: columns.subject,
    epoch: columns.epoch,
    max_open: columns.maxOpen,
    random_id: columns.randomId,
    transport: columns.transport,
    device_name: columns.deviceName,
    idle_ms: columns.idleMs,
    absolute_ms: columns.absoluteMs,
    token_hash: bytes(columns.tokenHash),
    ip: caller.ip,
    user_agent: caller.userAgent,
    origin_salt: bytes(columns.callerSalt),
    methods: columns.methods,
    authenticated_at: instantParam(columns.authenticatedAt),
  }
  const rows = await sql<BegunRow[]>`
    select outcome, family_id, ${epochMs(sql, 'began_at')} as began_at
    from token_ledger.begin_family(${JSON.stringify(beginning)}::text::json)
    where ${txid}::text is null or pg_current_xact_id()::text = ${txid}`
  fence(rows.length, 1)
  const [row] = rows
  if (row === undefined) throw new Error('begin_family returned no row')
  if (row.outcome !== 'begun') return { outcome: row.outcome }
  return { outcome: row.outcome, familyId: row.family_id, beganAt: row.began_at }
}

type BegunRow =
  | { outcome: 'begun'; family_id: string; began_at: number }
  | { outcome: 'epoch_changed' | 'too_many_open' }
