import { parseArgs } from 'node:util'
import { migrateWithErrors } from '../config/database-url.ts'
import type { Command } from './command.ts'
import { withDatabaseUrl } from './database.ts'

export const migrateCommand: Command = {
  usage: '',
  summary: 'creates the schema of the database, or brings it up to date',
  async run(args, readConfig) {
    parseArgs({ args: [...args], options: {} })
    await withDatabaseUrl(readConfig(), migrateWithErrors)
    console.error('the schema is up to date')
    return 0
  },
}
