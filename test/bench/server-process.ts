import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type * as App from '../../server/index.ts'
import type { Rotate } from '../../server/sessions/rotation.ts'
import type * as Tokens from '../../server/tokens/refresh-token.ts'
import { fromDist } from './dist.ts'
import { answerCalls } from '../support/child.ts'
import type { ServerKind } from './processes.ts'

// The service as `server/main.ts` starts it, without rate limits, because one address makes all the load, and without
// the parts that BENCH_SERVER removes.

const { buildApp, connect, loadConfig } = await fromDist<typeof App>('server/index.js')
const { deriveRefreshTokenKeys, deriveSuccessor } = await fromDist<typeof Tokens>(
  'server/tokens/refresh-token.js',
)
const kind = process.env.BENCH_SERVER as ServerKind
const idleMs = 7 * 24 * 3600 * 1000

answerCalls({ start, heap })

async function start(): Promise<void> {
  // Production refuses RATE_LIMITS=off, so the limits are switched off after that check.
  const config = { ...loadConfig(process.env), rateLimits: 'off' as const }
  const database = connect(config.databaseUrl!, { role: 'token_ledger_app' })
  const app = await buildApp({
    config,
    database,
    ...(kind === 'one-by-one' && { rotationBatchSize: 1 }),
    ...(kind === 'ceiling' && { rotate: rotateNothing(config.authSecret!) }),
  })
  await app.listen({ host: config.host, port: config.port })
}

/** About as long as a batch of rotations takes. */
const batchMs = 3

/**
 * Derives a successor as a rotation does, without asking the database. Answers all that came within `batchMs` at once,
 * because signing a whole batch takes half as long as signing one token at a time.
 */
function rotateNothing(secret: string): Rotate {
  const keys = deriveRefreshTokenKeys([secret])
  const user = {
    id: '01890000-0000-7000-8000-000000000000',
    email: 'user-1@bench.example.com',
    role: 'user' as const,
    disabled: false,
  }
  let batch: Promise<void> | null = null
  return async ({ token, transport }) => {
    batch ??= delay(batchMs).then(() => {
      batch = null
    })
    await batch
    return {
      familyId: token.familyId,
      userId: user.id,
      user,
      transport,
      token: deriveSuccessor(keys[0], token, randomBytes(16)),
      signedInAt: Date.now(),
      authentication: { methods: ['pwd'], authenticatedAt: Date.now() },
      refreshExpiresAt: Date.now() + idleMs,
      refreshRemainingMs: idleMs,
    }
  }
}

/** Bytes of heap in use after two garbage collections. */
function heap(): number {
  globalThis.gc!()
  globalThis.gc!()
  return process.memoryUsage().heapUsed
}
