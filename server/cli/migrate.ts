import { parseArgs } from 'node:util'
import { migrateWithErrors } from '../config/database-url.ts'
import type { Command } from './command.ts'
import { withDatabaseUrls } from './database.ts'

export const migrateCommand: Command = {
  usage: '',
  summary: 'creates the schema of the database, or brings it up to date',
  async run(args, readConfig) {
    parseArgs({ args: [...args], options: {} })
    for (const right of await withDatabaseUrls(readConfig(), migrateWithErrors))
      console.error(`PUBLIC keeps ${right}: this user may not revoke it`)
    console.error('the schema is up to date')
    return 0
  },
}
