import { parseArgs } from 'node:util'
import { loadOrCreateAuthSecret } from '../auth-secret.ts'
import { replaceSigningKeys, rotateSigningKey } from '../signing-keys.ts'
import type { Command } from './command.ts'
import { withDatabase } from './database.ts'

export const keysRotate: Command = {
  usage: '[--compromised]',
  does: 'publishes the next signing key, used once every verifier has seen it; or replaces all at once',
  async run(args, config) {
    const { values } = parseArgs({
      args: [...args],
      options: { compromised: { type: 'boolean', default: false } },
    })
    const change = values.compromised ? replaceSigningKeys : rotateSigningKey
    const secret = config.authSecret ?? loadOrCreateAuthSecret(config.dataDir)
    const kid = await withDatabase(config, { role: 'token_ledger_app' }, (database) =>
      change(database, secret),
    )
    console.log(kid)
    return 0
  },
}
