import { parseArgs } from 'node:util'
import { createAccounts } from '../users/accounts.ts'
import { eraseUser } from '../admin/erasure.ts'
import { createPasswords } from '../users/passwords.ts'
import { emailOf, only } from './arguments.ts'
import type { Command } from './command.ts'
import { withDatabase } from './database.ts'
import { counted } from './output.ts'

export const userErase: Command = {
  usage: 'E',
  does: 'ends everything of the user and removes who it was; cannot be undone',
  async run(args, config) {
    const { positionals } = parseArgs({ args: [...args], allowPositionals: true, options: {} })
    const email = emailOf(only(positionals, 'e-mail address'))
    // As the owner: the service may not change what happened, not even this.
    return withDatabase(config, {}, async (database) => {
      const users = createAccounts(database, createPasswords())
      const user = await users.findByEmail(email)
      if (user === null) throw new Error(`there is no user ${email}`)
      const deps = { sql: database.sql, record: () => {}, accounts: users.accounts }
      const by = { actorUserId: null, origin: { ip: null, userAgent: null } }
      const { ended, erased } = await eraseUser(deps, user.id, by)
      console.log(user.id)
      console.error(`${counted(ended, 'session')} ended, ${counted(erased, 'row')} erased`)
      console.error('logs, backups and exports made before still hold what they held')
      return 0
    })
  },
}
