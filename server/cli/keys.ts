import { parseArgs } from 'node:util'
import { replaceSigningKeys, rotateSigningKey } from '../tokens/key-changes.ts'
import type { Command } from './command.ts'
import { asService, withDatabase } from './database.ts'
import { loadSecrets } from './secrets.ts'

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
    const addKey = values.compromised ? replaceSigningKeys : rotateSigningKey
    const kid = await withDatabase(config, asService, (database) =>
      addKey(database, loadSecrets(config)),
    )
    console.log(kid)
    return 0
  },
}
