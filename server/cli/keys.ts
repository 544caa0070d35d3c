import { parseArgs } from 'node:util'
import { loadOrCreateAuthSecret } from '../config/auth-secret.ts'
import { replaceSigningKeys, rotateSigningKey } from '../tokens/signing-keys.ts'
import type { Command } from './command.ts'
import { asService, withDatabase } from './database.ts'

export const keysRotate: Command = {
  usage: '[--compromised]',
  summary:
    'publishes the next signing key, to be used once verifiers could load it; --compromised replaces all keys at once',
  async run(args, readConfig) {
    const { values } = parseArgs({
      args: [...args],
      options: { compromised: { type: 'boolean', default: false } },
    })
    const config = readConfig('secret')
    const previous = config.authSecretPrevious === undefined ? [] : [config.authSecretPrevious]
    const addKey = values.compromised ? replaceSigningKeys : rotateSigningKey
    const kid = await withDatabase(config, asService, (database) => {
      const secret = config.authSecret ?? loadOrCreateAuthSecret(config.dataDir)
      return addKey(database, [secret, ...previous])
    })
    console.log(kid)
    return 0
  },
}
