import { connect, type ConnectOptions, type Database } from '../../db/connect.ts'
import type { Config } from '../config.ts'
import { reachEmbeddedPostgres } from '../embedded-postgres.ts'
import { explained } from '../reach-database.ts'

/**
 * Runs `work` on the database the service uses: `DATABASE_URL`, or the embedded one, which is started
 * for as long as it takes when the service does not run.
 */
export async function withDatabaseUrl<T>(
  config: Config,
  work: (databaseUrl: string) => Promise<T>,
): Promise<T> {
  if (config.databaseUrl !== undefined)
    return explained(config.databaseUrl, () => work(config.databaseUrl ?? ''))
  const postgres = await reachEmbeddedPostgres({ dataDir: config.dataDir })
  try {
    return await explained(postgres.url, () => work(postgres.url))
  } finally {
    await postgres.stop()
  }
}

/** As `withDatabaseUrl`, connected; as the owner unless a role is named. */
export async function withDatabase<T>(
  config: Config,
  options: ConnectOptions,
  work: (database: Database) => Promise<T>,
): Promise<T> {
  return withDatabaseUrl(config, async (databaseUrl) => {
    const database = connect(databaseUrl, { maxConnections: 2, answerWithinMs: null, ...options })
    try {
      return await work(database)
    } finally {
      await database.close()
    }
  })
}
