import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { insertAdminAction } from '../../db/audit/admin-actions.ts'
import { fenced, inTransaction } from '../../db/connection/transaction.ts'
import { rootOf } from '../../server/evidence/merkle.ts'
import { startSequencer } from '../../server/evidence/sequencer.ts'
import {
  createCheckpointSigner,
  verifierKeyOf,
  type SignedCheckpoint,
} from '../../server/evidence/sign-checkpoints.ts'
import { storedSubtrees } from '../../server/evidence/stored-tiles.ts'
import { verifyLog } from '../../server/evidence/verify-log.ts'
import { startLedger, type TestLedger } from '../support/ledger.ts'
import { completeLog, makeIdentity, strayLeaves } from '../support/log.ts'
import { runsLong } from '../support/long.ts'

const writers = 24
const writingMs = runsLong ? 60_000 : 2_000
const silent = { info: () => {}, warn: () => {} }

test(
  'LE-29: 24 writers with rollbacks on two processes, whose sequencers are killed: each committed row is one leaf, and each checkpoint stays true',
  { timeout: writingMs + 120_000 },
  async () => {
    await using one = await startLedger()
    await using two = await startLedger({}, one)
    const { ownerSql } = one.owner
    const identity = makeIdentity()
    const endsAt = performance.now() + writingMs
    const isOver = () => performance.now() > endsAt
    const signed: SignedCheckpoint[] = []
    const sequencers = [one, two].map(({ database }) =>
      startSequencer(database.questions, silent, { pollMs: 5 }),
    )

    async function kill(): Promise<void> {
      while (!isOver()) {
        await ownerSql`
          select pg_terminate_backend(pid) from pg_stat_activity
          where datname = current_database() and state = 'active' and query like '%append_leaves%'
            and pid <> pg_backend_pid()`
        await sleep(Math.random() * 100)
      }
    }

    async function signCheckpoints(): Promise<void> {
      while (!isOver()) {
        signed.push(await createCheckpointSigner(one.database, identity).current())
        await sleep(50)
      }
    }

    const working = Array.from({ length: writers }, (_, i) =>
      write(i % 2 === 0 ? one : two, isOver),
    )
    await Promise.all([...working, kill(), signCheckpoints()])
    await Promise.all(sequencers.map((sequencer) => sequencer.close()))
    const size = await completeLog(one.owner)
    expect(size).toBeGreaterThan(writers)
    expect(await strayLeaves(ownerSql)).toEqual([])
    for (const { size: before, root } of signed)
      expect(await rootOf(before, storedSubtrees(one.database, before))).toEqual(root)
    const last = await createCheckpointSigner(one.database, identity).current()
    const report = await verifyLog(one.database, last, [verifierKeyOf(identity)])
    expect(report).toEqual({ leaves: size, problems: [] })
  },
)

async function write(ledger: TestLedger, isOver: () => boolean): Promise<void> {
  let session = await ledger.start(await ledger.makeUser())
  while (!isOver()) {
    session = await ledger.refresh(session)
    if (Math.random() < 0.7) continue
    await inTransaction(ledger.database.transactions, async (tx) => {
      await insertAdminAction(await fenced(tx), { action: 'role_set', actorUserId: null })
      if (Math.random() < 0.5) throw new Error('rolled back')
    }).catch((error: unknown) => {
      if (!(error instanceof Error && error.message === 'rolled back')) throw error
    })
  }
}
