import { serviceUrl } from './admin.ts'
import { run, type FinishedProcess } from './run.ts'
import { testSecret } from './server.ts'

/** Runs the command line in a process of its own, on this database of the owner; null leaves both URLs out. */
export function cli(
  databaseUrl: string | null,
  args: readonly string[],
  stdin = '',
): Promise<FinishedProcess> {
  const env = {
    AUTH_SECRET: testSecret,
    ...(databaseUrl !== null && {
      DATABASE_URL: serviceUrl(databaseUrl),
      MIGRATION_DATABASE_URL: databaseUrl,
    }),
  }
  return run('server/cli/main.ts', args, { env, stdin })
}
