import { parseArgs } from 'node:util'
import { migrateOrExplain } from '../config/database-url.ts'
import type { Command } from './command.ts'
import { withDatabaseUrl } from './database.ts'

export const migrateCommand: Command = {
  usage: '',
  does: 'brings the database to the newest schema',
  async run(args, config) {
    parseArgs({ args: [...args], options: {} })
    await withDatabaseUrl(config, migrateOrExplain)
    console.error('the schema is up to date')
    return 0
  },
}
