import type { Database } from '../db/connect.ts'
import type { AccessTokens } from './access-token.ts'
import type { Config } from './config.ts'
import type { EndedSessions } from './ended-sessions.ts'
import type { Limits } from './limits.ts'
import type { Metrics } from './metrics.ts'
import type { Tails } from './ledger-tail.ts'
import type { Rotate } from './rotation.ts'
import type { ReportError } from './security-log.ts'
import type { SessionDeps } from './sessions.ts'
import type { SigningKeys } from './signing-keys.ts'
import type { Verifier } from './verifier.ts'

/** What procedures work with; made once by `app.ts`. */
export type Deps = SessionDeps & {
  readonly config: Config
  readonly database: Database
  readonly signingKeys: SigningKeys
  readonly accessTokens: AccessTokens
  readonly rotate: Rotate
  readonly verifier: Verifier
  readonly limits: Limits
  readonly metrics: Metrics
  readonly tails: Tails
  readonly endedSessions: EndedSessions
  readonly reportError: ReportError
}
