/*
 * A process that writes with a writer for each of its users, appends to the log, and signs checkpoints, until it is
 * killed. It prints each checkpoint, or why it signed none, as a line of JSON.
 */
import { createPrivateKey } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { insertAdminAction } from '../../db/audit/admin-actions.ts'
import { connect } from '../../db/connection/connect.ts'
import { startSequencer } from '../../server/evidence/sequencer.ts'
import {
  CheckpointRefused,
  createCheckpointSigner,
  logOriginOf,
} from '../../server/evidence/sign-checkpoints.ts'
import { endSession } from '../../server/sessions/revocation.ts'
import { createRotation } from '../../server/sessions/rotation.ts'
import { startSession } from '../../server/sessions/sign-in.ts'
import type { User } from '../../server/users/directory.ts'
import { sessionDeps, testCaller, testSignIn } from '../support/session-deps.ts'

const { DATABASE_URL = '', LOG_KEY = '', LOG_USERS = '[]', PUBLIC_URL = '' } = process.env
const users = JSON.parse(LOG_USERS) as User[]
const database = connect(DATABASE_URL, { role: 'token_ledger_app' })
const identity = { origin: logOriginOf(PUBLIC_URL), privateKey: createPrivateKey(LOG_KEY) }
const deps = sessionDeps(database)
const { rotate } = createRotation(deps)

const rolledBack = new Error('rolled back')

startSequencer(database.questions, { info: () => {}, warn: () => {} }, { pollMs: 5 })
await Promise.all([signCheckpoints(), ...users.map(write)])

async function signCheckpoints(): Promise<never> {
  for (;;) {
    // Within a second, a signer does not sign twice.
    const signer = createCheckpointSigner(database, identity)
    await signer.current().then(({ note }) => print({ note }), refused)
    await sleep(50)
  }
}

function refused(error: unknown): void {
  if (error instanceof CheckpointRefused) print({ refusal: error.message })
}

function print(line: { note: string } | { refusal: string }): void {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

async function write(user: User): Promise<never> {
  for (;;) {
    const session = await startSession(deps, { user, ...testSignIn })
    let { token } = session
    for (let i = 0; i < 5; i++)
      ({ token } = await rotate({ token, transport: 'body', attemptId: null, caller: testCaller }))
    await endOrRollBack(session.familyId, user.id)
  }
}

/** Half of these transactions write an event and an admin action that never were. */
async function endOrRollBack(familyId: string, actorUserId: string): Promise<void> {
  const by = { reason: 'admin_revoked', actorUserId, caller: testCaller } as const
  const target = {
    familyId,
    async inSameTransaction(transaction: Parameters<typeof insertAdminAction>[0]) {
      await insertAdminAction(transaction, { action: 'session_revoked', actorUserId })
      if (Math.random() < 0.5) throw rolledBack
    },
  }
  await endSession(deps, target, by).catch((error: unknown) => {
    if (error !== rolledBack) throw error
  })
}
