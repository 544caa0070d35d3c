import { loadOrCreateAuthSecret } from '../auth-secret.ts'
import { rotateSigningKey } from '../signing-keys.ts'
import type { Command } from './command.ts'
import { withDatabase } from './database.ts'

export const keysRotate: Command = {
  usage: '',
  does: 'publishes the next signing key; it signs once every verifier has seen it',
  async run(_args, config) {
    const secret = config.authSecret ?? loadOrCreateAuthSecret(config.dataDir)
    const kid = await withDatabase(config, { role: 'token_ledger_app' }, (database) =>
      rotateSigningKey(database, secret),
    )
    console.log(kid)
    return 0
  },
}
