import type * as App from '../../server/index.ts'
import type * as Accounts from '../../server/users/accounts.ts'
import type * as Passwords from '../../server/users/passwords.ts'
import type * as Tokens from '../../server/tokens/refresh-token.ts'
import type * as Rotation from '../../server/sessions/rotation.ts'
import { fromDist } from './dist.ts'
import type { Job, JobResult, BenchSession } from './load.ts'
import { answerCalls } from '../support/child.ts'
import { summarize } from './statistics.ts'

// Rotations directly on the database: the SQL of the service, without HTTP and without signing.

const { connect } = await fromDist<typeof App>('server/index.js')
const { createAccounts } = await fromDist<typeof Accounts>('server/users/accounts.js')
const { createPasswords } = await fromDist<typeof Passwords>('server/users/passwords.js')
const tokens = await fromDist<typeof Tokens>('server/tokens/refresh-token.js')
const { createRotation } = await fromDist<typeof Rotation>('server/sessions/rotation.js')

const database = connect(process.env.DATABASE_URL!, { role: 'token_ledger_app' })
const refreshKeys = tokens.deriveRefreshTokenKeys([process.env.AUTH_SECRET!])
const day = 24 * 3600 * 1000
const { rotate } = createRotation({
  sql: database.transactions,
  users: createAccounts(database, createPasswords()),
  refreshKeys,
  policy: {
    idleMs: 7 * day,
    absoluteMs: 30 * day,
    graceMs: 10_000,
    reuseScope: 'family',
    replaysElsewhere: 'warn',
    maxSessionsPerUser: 100,
  },
  logSecurityEvent: () => {},
})
const caller = { ip: '127.0.0.1', userAgent: null }
const fleets = new Map<string, BenchSession[]>()

answerCalls({
  enlist: ({ fleet, sessions }: { fleet: string; sessions: BenchSession[] }) =>
    void fleets.set(fleet, sessions),
  run,
})

async function run(job: Job): Promise<JobResult> {
  const sessions = fleets.get(job.fleet)!
  const newest = sessions.map(({ token }) => tokens.parseRefreshToken(refreshKeys, token)!)
  const latencies: number[] = []
  const startedAt = performance.now()
  const deadlineAt = startedAt + job.seconds * 1000
  await Promise.all(
    Array.from({ length: job.connections }, async (_, i) => {
      for (let at = i; performance.now() < deadlineAt; at = next(at)) {
        const sentAt = performance.now()
        const token = newest[at]!
        const session = await rotate({ token, transport: 'cookie', attemptId: null, caller })
        if (session.token.generation !== token.generation + 1) throw new Error('no successor')
        newest[at] = session.token
        latencies.push(performance.now() - sentAt)
      }
      function next(at: number): number {
        return at + job.connections < newest.length ? at + job.connections : i
      }
    }),
  )
  for (const [at, token] of newest.entries()) sessions[at]!.token = token.value
  return summarize(latencies, (performance.now() - startedAt) / 1000)
}
