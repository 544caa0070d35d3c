import { loadOrCreateAuthSecret } from '../auth-secret.ts'
import { rotateSigningKey } from '../signing-keys.ts'
import type { Command } from './command.ts'
import { withDatabase } from './database.ts'

export const keysRotate: Command = {
  usage: '',
  does: 'publishes the next signing key; it signs once every verifier has seen it',
  async run(_args, config) {
    const secrets: [string, ...string[]] = [
      config.authSecret ?? loadOrCreateAuthSecret(config.dataDir),
      ...(config.authSecretPrevious === undefined ? [] : [config.authSecretPrevious]),
    ]
    const kid = await withDatabase(config, { role: 'token_ledger_app' }, (database) =>
      rotateSigningKey(database, secrets),
    )
    console.log(kid)
    return 0
  },
}
