import type { KeyObject } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import type { LogDatabase } from '../../db/evidence/log.ts'
import { describeError } from '../observability/security-log.ts'
import {
  CheckpointRefused,
  createCheckpointSigner,
  type SignedCheckpoint,
} from './sign-checkpoints.ts'
import type { Witness, WitnessError } from './witness.ts'

/** A checkpoint is signed this often, and also when a caller asks for one. */
const signEveryMs = 60_000

export type Checkpoints = {
  /**
   * The newest checkpoint, of a moment ago.
   *
   * @throws {CheckpointRefused}
   */
  current(): Promise<SignedCheckpoint>
  /** Why the last attempt was refused; null if it was not. */
  refusal(): string | null
  /** Leaves of the last checkpoint that this process signed or read. */
  size(): number
}

type Options = {
  readonly origin: string
  /** None when `AUTH_SECRET` decrypts none. */
  readonly privateKeys: readonly KeyObject[]
  readonly shown: string | null
  readonly witness: Witness | null
}

/** Signs a checkpoint now and then, and logs why it does not. */
export function keepCheckpoints(
  app: Pick<FastifyInstance, 'log' | 'addHook'>,
  database: LogDatabase,
  { origin, privateKeys, shown, witness }: Options,
): Checkpoints {
  /** Reported once: the witness gives the same error until it is asked again. */
  let unwitnessed: WitnessError | null = null
  const onUnwitnessed = (error: WitnessError) => {
    if (error !== unwitnessed) app.log.warn(describeError(error), 'a checkpoint has no cosignature')
    unwitnessed = error
  }
  const [privateKey, ...addedKeys] = privateKeys
  const signer =
    privateKey === undefined
      ? null
      : createCheckpointSigner(
          database,
          { origin, privateKey, addedKeys },
          { shown, witness, onUnwitnessed },
        )
  let refusal: string | null = null
  let isReported = false

  async function current(): Promise<SignedCheckpoint> {
    try {
      if (signer === null)
        throw new CheckpointRefused(
          'AUTH_SECRET cannot decrypt the key of the log, or its row was changed',
        )
      const checkpoint = await signer.current()
      refusal = null
      isReported = false
      return checkpoint
    } catch (error) {
      refusal = error instanceof CheckpointRefused ? error.message : null
      if (!isReported) report(error)
      isReported = true
      throw error
    }
  }

  function report(error: unknown): void {
    if (error instanceof CheckpointRefused)
      app.log.error({ problem: error.message }, 'no checkpoint is signed')
    else app.log.warn(describeError(error), 'no checkpoint could be signed')
  }

  const keep = () => void current().catch(() => {})
  keep()
  const timer = setInterval(keep, signEveryMs)
  timer.unref()
  app.addHook('onClose', async () => clearInterval(timer))
  return { current, refusal: () => refusal, size: () => signer?.size() ?? 0 }
}
