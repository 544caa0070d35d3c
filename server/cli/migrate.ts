import { migrate } from '../../db/migrate.ts'
import type { Command } from './command.ts'
import { withDatabaseUrl } from './database.ts'

export const migrateCommand: Command = {
  usage: '',
  does: 'brings the database to the newest schema',
  async run(_args, config) {
    await withDatabaseUrl(config, migrate)
    console.error('the schema is up to date')
    return 0
  },
}
