import { loadOrCreateAuthSecret, secretsOf } from '../config/auth-secret.ts'
import type { Config } from '../config/config.ts'
import type { Secrets } from '../tokens/key-seal.ts'

/** As the service has them. Call it once the ledger is known to exist, because it may create a secret. */
export function loadSecrets(config: Config): Secrets {
  const authSecret = config.authSecret ?? loadOrCreateAuthSecret(config.dataDir)
  return secretsOf(authSecret, config.authSecretPrevious)
}
