import type postgres from 'postgres'
import { createKeyedMutex, type KeyedMutex } from '../../db/connection/keyed-mutex.ts'
import {
  type FencedTransaction,
  inTransactionPer,
  type Transaction,
} from '../../db/connection/transaction.ts'
import type { LockedFamily } from '../../db/ledger/event-rows.ts'
import { lockFamilies, lockUsers } from '../../db/ledger/locks.ts'

/** A caller who changes something, with the session that the access token names. */
export type Actor = {
  readonly userId: string
  readonly familyId: string
  /**
   * Asks the database, in this transaction, whether the caller may still act.
   *
   * @throws {AuthError} if not
   */
  readonly mayAct: (tx: Transaction) => Promise<void>
}

/** What an act locks: users first, then families. */
export type Concerned = {
  /** None for the service itself, the command line, and a caller with a refresh token. */
  readonly actor?: Actor | undefined
  readonly users?: readonly string[]
  /** Called when the users are locked. */
  readonly families?: (tx: Transaction) => Promise<readonly string[]>
}

export type Locked = FencedTransaction & { readonly families: ReadonlyMap<string, LockedFamily> }

/**
 * Runs an act in one transaction, with everything that it concerns locked, and the actor asked about again
 * after the locks. Every mutation of a signed-in caller goes through here or through `lockForAct`.
 *
 * The acts of one actor run one at a time in this process: an actor with many requests takes one connection,
 * and a transaction that ends the actor's session waits for one act.
 *
 * @param key the user or the family that the act is about
 * @throws {AuthError} when the actor may no longer act; nothing was changed
 */
export async function inAct<T>(
  sql: postgres.Sql,
  key: string,
  { concerned, work }: { concerned: Concerned; work: (locked: Locked) => Promise<T> },
): Promise<T> {
  const run = () => inTransactionPer(sql, key, async (tx) => work(await lockForAct(tx, concerned)))
  return concerned.actor === undefined ? run() : actorMutexOf(sql)(concerned.actor.userId, run)
}

/**
 * Locks what the act concerns, and the actor with it: the end of the actor's session, and any change of the
 * actor's account, comes either before this, and then refuses the act, or after the commit of the act.
 */
export async function lockForAct(
  tx: Transaction,
  { actor, users = [], families = async () => [] }: Concerned,
): Promise<Locked> {
  const usersToLock = actor === undefined ? users : [...users, actor.userId]
  const first = usersToLock.length > 0 ? await lockUsers(tx, usersToLock) : null
  const concerned = await families(tx)
  const locked = await lockFamilies(tx, actor ? [...concerned, actor.familyId] : concerned)
  await actor?.mayAct(tx)
  return { tx, txid: first?.txid ?? locked.txid, families: locked.families }
}

/** Apart from the mutexes of `inTransactionPer`: an actor may be the target of another actor's act. */
const actorMutexes = new WeakMap<postgres.Sql, KeyedMutex>()

function actorMutexOf(sql: postgres.Sql): KeyedMutex {
  const mutex = actorMutexes.get(sql) ?? createKeyedMutex()
  actorMutexes.set(sql, mutex)
  return mutex
}
