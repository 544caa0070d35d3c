import { parseArgs } from 'node:util'
import { ArchiveRefused, archiveLedger } from '../audit/archive.ts'
import { instantOf } from './arguments.ts'
import { UsageError, type Command } from './command.ts'
import { withDatabase } from './database.ts'
import { counts, createProgress } from './output.ts'

export const ledgerArchive: Command = {
  usage: '--before T --to FILE',
  summary: 'moves the months that ended before T into a file; exit 1 if one has an open session',
  async run(args, readConfig) {
    const { values } = parseArgs({
      args: [...args],
      options: { before: { type: 'string' }, to: { type: 'string' } },
    })
    const { before, to: file } = values
    if (before === undefined || file === undefined)
      throw new UsageError('--before and --to are required')
    const beforeAt = instantOf(before, '--before')
    try {
      // As the owner: no other role may drop partitions of the ledger.
      const archived = await withDatabase(readConfig(), {}, ({ transactions: sql }) =>
        archiveLedger(sql, { beforeAt, file }, createProgress()),
      )
      if (archived === null) {
        console.error(`nothing to archive: no month ended before ${before}`)
        return 0
      }
      const { months, sha256 } = archived
      console.log(`${sha256}  ${file}`)
      console.error(`archived ${months.join(', ')}: ${counts(archived)}`)
      return 0
    } catch (error) {
      if (!(error instanceof ArchiveRefused)) throw error
      console.error(`nothing was archived: ${error.message}`)
      return 1
    }
  },
}
