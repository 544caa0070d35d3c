import { parseArgs } from 'node:util'
import { loadOrCreateAuthSecret } from '../config/auth-secret.ts'
import { replaceSigningKeys, rotateSigningKey } from '../tokens/signing-keys.ts'
import type { Command } from './command.ts'
import { withDatabase } from './database.ts'

export const keysRotate: Command = {
  usage: '[--compromised]',
  summary:
    'publishes the next signing key, to be used once verifiers have loaded it; --compromised replaces all keys at once',
  needsSecret: true,
  async run(args, config) {
    const { values } = parseArgs({
      args: [...args],
      options: { compromised: { type: 'boolean', default: false } },
    })
    const previous = config.authSecretPrevious === undefined ? [] : [config.authSecretPrevious]
    const add = values.compromised ? replaceSigningKeys : rotateSigningKey
    const kid = await withDatabase(config, { role: 'token_ledger_app' }, (database) => {
      const secret = config.authSecret ?? loadOrCreateAuthSecret(config.dataDir)
      return add(database, [secret, ...previous])
    })
    console.log(kid)
    return 0
  },
}
