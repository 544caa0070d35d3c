import type postgres from 'postgres'
import type { LedgerEvent, Transport } from '../../server/ledger/events.ts'
import type { Witnessed } from '../../server/ledger/sighting.ts'
import type { Transaction } from '../connection/transaction.ts'
import { epochMsText } from '../instant.ts'
import { rangeOf } from '../uuid.ts'
import { toLedgerEvent, type LedgerEventRow, type LockedFamily } from './event-rows.ts'
import type { UserRow } from '../users.ts'

/** A family, the part of its history that a refresh decision needs, and its user's account as it is now. */
export type FamilyState = LockedFamily & {
  /**
   * From the event that issued the current token on, or from an earlier such event on, oldest first. Of a spent token
   * that few rotations have followed, all of them.
   */
  readonly events: readonly LedgerEvent[]
  /**
   * The same events with their callers, at least from three generations before the current one on. Empty when the
   * current token is presented: a rotation compares no callers.
   */
  readonly history: readonly Witnessed[]
  /** The hash of the token of the generation asked for; null when the family has no such generation. */
  readonly tokenHash: Buffer | null
  /** The user's row in `user_account`; null without one, as with a user directory of the embedder. */
  readonly account: UserRow | null
}

/** A family, and the generation of the presented token; null when no token is presented. */
export type FamilyQuery = { readonly familyId: string; readonly generation: number | null }

/** What `toLedgerEvent` reads of an event `e`, without its family. */
const eventColumns = `
  e.seq, e.kind, e.generation,
  ${epochMsText('e.occurred_at')} as occurred_at,
  ${epochMsText('e.expires_at')} as expires_at,
  ${epochMsText('e.absolute_expires_at')} as absolute_expires_at,
  e.user_id, e.transport, e.token_hash, e.salt, e.attempt_hash, e.presented_generation, e.reason,
  e.actor_user_id, array_to_string(e.methods, ' ') as methods,
  ${epochMsText('e.authenticated_at')} as authenticated_at`

/** The time, a family `f`, its user `u` and its newest event `e`. */
const newestColumns = `
  ${epochMsText('token_ledger.clock()')} as now,
  f.family_id, f.user_id as family_user_id, f.transport as family_transport,
  ${epochMsText('f.created_at')} as created_at,
  u.user_id as account_id, u.email, u.role, u.disabled_at,
  ${eventColumns}`

/**
 * Reads the families and the database's time (epoch milliseconds). Unknown families are missing from the map.
 *
 * After locking, call this as a separate statement: the snapshot of the statement that locked is older than its
 * wait for the lock.
 */
export async function readFamilies(
  sql: postgres.Sql | Transaction,
  asked: readonly FamilyQuery[],
): Promise<{ now: number; families: ReadonlyMap<string, FamilyState> }> {
  // One look-up per family (`offset 0` keeps them apart). Plans are kept: a join that was planned while the
  // ledger was small would go on reading whole tables for every batch. A family is in the month of its id, so
  // partitions before that of the lowest id need not be opened.
  const { lowest } = rangeOf(asked.map(({ familyId }) => familyId))
  const rows = await sql<NewestRow[]>`
    select ${sql.unsafe(newestColumns)}
    from unnest(${asked.map(({ familyId }) => familyId)}::uuid[]) as asked(family_id)
    cross join lateral (
      select *
      from token_ledger.token_family
      where family_id = asked.family_id and family_id >= ${lowest}::uuid
      offset 0
    ) f
    left join lateral (
      select *
      from token_ledger.user_account
      where user_id = f.user_id
      offset 0
    ) u on true
    cross join lateral (
      select *
      from token_ledger.token_event
      where family_id = asked.family_id and family_id >= ${lowest}::uuid
      order by seq desc
      limit 1
    ) e
    order by f.family_id`
  const newest = new Map(rows.map((row) => [row.family_id, row]))
  // Rare: the newest event did not issue the current token, or another token than that is presented.
  const more = asked.filter(({ familyId, generation }) => {
    const row = newest.get(familyId)
    return row !== undefined && !isSufficient(row, generation)
  })
  const tails =
    more.length === 0
      ? noTails
      : await readTails(
          sql,
          more.map((one) => ({
            ...one,
            generations: generationsOf(newest.get(one.familyId), one),
          })),
        )
  // Missing now: archived between the two statements, and so unknown.
  for (const { familyId } of more) if (!tails.has(familyId)) newest.delete(familyId)
  return {
    now: rows[0]?.now ?? 0,
    families: new Map([...newest].map(([id, row]) => [id, toState(row, tails.get(id))])),
  }
}

/** The kinds of events that made a token. */
const makesToken: ReadonlySet<string> = new Set(['issued', 'rotated', 'reauthenticated'])

function isSufficient({ kind, generation }: NewestRow, asked: number | null): boolean {
  return makesToken.has(kind) && (asked === null || asked === generation)
}

/** The events of the newest generations, and the hash of the presented token. */
type Tail = Pick<FamilyState, 'history' | 'tokenHash'>

/** The current one, and `suspiciousGenerations` before it. */
const tailGenerations = 4

/** As many as a client can name the attempts of: `maxPreviousAttempts` and that of its request. */
const maxRotations = 21

/** How many generations of a family decide what becomes of the presented token. */
function generationsOf(row: NewestRow | undefined, { generation }: FamilyQuery): number {
  const rotations = row === undefined || generation === null ? 0 : row.generation - generation
  // With more rotations in between, no replay rule applies.
  return rotations > maxRotations ? tailGenerations : Math.max(tailGenerations, rotations)
}

const noTails: ReadonlyMap<string, Tail> = new Map()

async function readTails(
  sql: postgres.Sql | Transaction,
  asked: readonly (FamilyQuery & { readonly generations: number })[],
): Promise<ReadonlyMap<string, Tail>> {
  const rows = await sql<TailRow[]>`
    select
      asked_token.token_hash as asked_hash, e.family_id, host(e.ip) as ip, e.user_agent,
      ${sql.unsafe(eventColumns)}
    from unnest(
      ${asked.map((a) => a.familyId)}::uuid[], ${asked.map((a) => a.generation)}::integer[],
      ${asked.map((a) => a.generations)}::integer[]
    ) as asked(family_id, generation, generations)
    cross join lateral (
      select min(seq) as seq
      from (
        select seq
        from token_ledger.token_event
        where family_id = asked.family_id and kind in ('issued', 'rotated', 'reauthenticated')
        order by seq desc
        limit asked.generations
      ) newest
    ) issuing
    cross join lateral (
      select *
      from token_ledger.token_event
      where family_id = asked.family_id and seq >= issuing.seq
      offset 0
    ) e
    left join lateral (
      select token_hash
      from token_ledger.token_event
      where family_id = asked.family_id and generation = asked.generation
        and kind in ('issued', 'rotated', 'reauthenticated')
      order by seq desc
      limit 1
    ) asked_token on true
    order by e.family_id, e.seq`
  const tails = new Map<string, { history: Witnessed[]; tokenHash: Buffer | null }>()
  for (const row of rows) {
    const tail = tails.get(row.family_id) ?? { history: [], tokenHash: row.asked_hash }
    const caller = { ip: row.ip, userAgent: row.user_agent }
    tail.history.push({ event: toLedgerEvent(row), caller })
    tails.set(row.family_id, tail)
  }
  return tails
}

type TailRow = LedgerEventRow & {
  asked_hash: Buffer | null
  ip: string | null
  user_agent: string | null
}

type NewestRow = LedgerEventRow & {
  now: number
  family_user_id: string
  family_transport: Transport
  created_at: number
  account_id: string | null
  email: string | null
  role: UserRow['role']
  disabled_at: string | null
}

function toState(row: NewestRow, tail: Tail | undefined): FamilyState {
  const { account_id: userId, email, role, disabled_at: disabledAt } = row
  return {
    familyId: row.family_id,
    userId: row.family_user_id,
    transport: row.family_transport,
    createdAt: row.created_at,
    account: userId === null ? null : { userId, email, role, disabledAt },
    events: tail?.history.map(({ event }) => event) ?? [toLedgerEvent(row)],
    history: tail?.history ?? [],
    tokenHash: tail === undefined ? row.token_hash : tail.tokenHash,
  }
}
