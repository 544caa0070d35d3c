import { parseArgs } from 'node:util'
import { endWhatCopyCannotKnow, keepCopyAsItIs } from '../admin/restored.ts'
import { actDeps, commandLine } from './acts.ts'
import { instantOf } from './arguments.ts'
import { UsageError, type Command } from './command.ts'
import { asService, withDatabase } from './database.ts'
import { pluralize } from './output.ts'
import { loadSecrets } from './secrets.ts'

export const ledgerRestored: Command = {
  usage: '--at T [--keep]',
  summary:
    'after the database was restored from a copy of T: ends every session and replaces all signing keys; --keep only records it',
  async run(args, readConfig) {
    const { values } = parseArgs({
      args: [...args],
      options: { at: { type: 'string' }, keep: { type: 'boolean', default: false } },
    })
    if (values.at === undefined) throw new UsageError('--at is required: the moment of the copy')
    const act = { copyOf: instantOf(values.at, '--at'), by: commandLine }
    const config = readConfig(values.keep ? undefined : 'secret')
    await withDatabase(config, asService, async (database) => {
      const deps = actDeps(database)
      if (values.keep) {
        await keepCopyAsItIs(deps, act)
        console.log('nothing was ended; processes no longer report a restored copy')
        return
      }
      const { sessions, users, kid } = await endWhatCopyCannotKnow(deps, loadSecrets(config), act)
      console.log(`ended ${pluralize(sessions, 'session')} of ${pluralize(users, 'user')}`)
      console.log(`signing key ${kid} replaces all others`)
      console.error(
        `accounts are as they were at ${values.at}: change, disable and erase again what was changed since (docs/guides/recover.md)`,
      )
    })
    return 0
  },
}
