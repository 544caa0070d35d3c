import { inTransaction } from '../../db/connection/transaction.ts'
import { appendEvents } from '../../db/ledger/append.ts'
import { lockFamilies } from '../../db/ledger/locks.ts'
import {
  decideOne,
  prepareCandidate,
  readSnapshot,
} from '../../server/sessions/refresh-decision.ts'
import { newAppend } from '../../server/sessions/revocation.ts'
import type { LiveSession } from '../../server/sessions/session.ts'
import { testCaller, type TestLedger } from './ledger.ts'

/** Replaces the token of a session, as when its user has just proved again who they are. */
export async function reauthenticate(
  { deps }: TestLedger,
  { familyId, token, transport }: LiveSession,
  proof: { methods: readonly string[]; authenticatedAt?: number; attemptId?: string },
): Promise<LiveSession> {
  const { methods, authenticatedAt = null, attemptId = null } = proof
  const pending = {
    familyId,
    token,
    transport,
    attemptId,
    caller: testCaller,
    reauthentication: { methods, authenticatedAt },
  }
  return inTransaction(deps.sql, async (tx) => {
    const { txid } = await lockFamilies(tx, [familyId])
    const snapshot = await readSnapshot(deps, tx, [pending])
    const { answer } = decideOne(deps, prepareCandidate(deps, pending), snapshot)
    if (answer.event !== null)
      await appendEvents(tx, txid, [newAppend(familyId, answer.event, testCaller)])
    if (answer.refusal !== null) throw answer.refusal
    return answer.session
  })
}
