import type { OwnSession, PageOfUser } from '../../db/audit/pages-of-users.ts'
import type { SessionRow } from '../../db/audit/session-row.ts'
import type { Standing } from '../../db/audit/standing.ts'
import type { Database } from '../../db/connection/connect.ts'
import type { LongReads } from '../audit/long-reads.ts'
import type { Tails } from '../audit/tail.ts'
import type { Config } from '../config/config.ts'
import type { Checkpoints } from '../evidence/keep-checkpoints.ts'
import type { CallLimits } from '../limits/call-limits.ts'
import type { Limits } from '../limits/limits.ts'
import type { SignInAttempts } from '../limits/sign-in-attempts.ts'
import type { AccountHash } from '../observability/account-hash.ts'
import type { Metrics } from '../observability/metrics.ts'
import type { ReportError } from '../observability/security-log.ts'
import type { EndedSessions } from '../sessions/ended-sessions.ts'
import type { Rotate } from '../sessions/rotation.ts'
import type { SignOut } from '../sessions/sign-out.ts'
import type { SessionDeps } from '../sessions/session.ts'
import type { AccessTokens } from '../tokens/access-token.ts'
import type { SigningKeys } from '../tokens/signing-keys.ts'
import type { FindBreachedPasswords } from '../users/breached-passwords.ts'
import type { Verifier } from '../verifier/verifier.ts'
import type { Turns } from './turns.ts'

/** What procedures work with; made once per app by `makeDeps`. */
export type ServiceDeps = SessionDeps & {
  /** This process, as its rows in `process_mark` name it. */
  readonly processId: string
  readonly config: Config
  readonly database: Database
  /** What an operator should change: see `LoginWarning` and `watchHostClock`. Shown by `/readyz`. */
  readonly warnings: () => readonly string[]
  readonly signingKeys: SigningKeys
  readonly checkpoints: Checkpoints
  readonly accessTokens: AccessTokens
  readonly rotate: Rotate
  readonly signOut: SignOut
  readonly verifier: Verifier
  readonly limits: Limits
  readonly signInAttempts: SignInAttempts
  readonly accountHash: AccountHash
  readonly findBreachedPasswords: FindBreachedPasswords | undefined
  readonly callLimits: CallLimits
  /** What a session is now, asked for all calls of one turn of the event loop together. */
  readonly standingOf: (familyId: string) => Promise<Standing | null>
  /** In the same way. */
  readonly ownSessionsOf: (page: PageOfUser) => Promise<readonly OwnSession[]>
  /** In the same way, for admins. */
  readonly sessionsOf: (page: PageOfUser) => Promise<readonly SessionRow[]>
  readonly turns: Turns
  readonly metrics: Metrics
  readonly tails: Tails
  /** Open verifications: one of each admin. */
  readonly checks: Tails
  readonly longReads: LongReads
  readonly endedSessions: EndedSessions
  readonly reportError: ReportError
}
