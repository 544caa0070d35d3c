import { startChild, type Child } from '../support/child.ts'
import { benchSecret } from './fleet.ts'
import type { Recorded } from './limit-process.ts'
import type { Job, JobResult, BenchSession } from './load.ts'

/** `ceiling` makes no database call and answers in batches; `one-by-one` uses a transaction for each rotation. */
export type ServerKind = 'full' | 'one-by-one' | 'ceiling'

export type Server = { readonly url: string; readonly child: Child }

export type LoadGenerator = {
  /** Hands sessions to the load generator, which keeps their newest tokens from then on. */
  enlist(fleet: string, sessions: readonly BenchSession[]): Promise<void>
  run(job: Job): Promise<JobResult>
  readonly child: Child
}

export async function startBenchServer(
  kind: ServerKind,
  { databaseUrl, port }: { databaseUrl: string; port: number },
): Promise<Server> {
  const url = `http://127.0.0.1:${port}`
  const child = startChild(new URL('server-process.ts', import.meta.url), {
    NODE_ENV: 'production',
    DATABASE_URL: databaseUrl,
    DATABASE_WITHOUT_TLS: 'allow',
    SUPERUSER_DATABASE_LOGIN: 'allow',
    AUTH_SECRET: benchSecret,
    PUBLIC_URL: url,
    PORT: String(port),
    BENCH_SERVER: kind,
  })
  await child.call('start')
  return { url, child }
}

/** A bare server that answers each request with these bytes and a signature of its own. */
export async function startLimit(port: number, recorded: Recorded): Promise<Server> {
  const child = startChild(new URL('limit-process.ts', import.meta.url))
  await child.call('listen', { port, recorded })
  return { url: `http://127.0.0.1:${port}`, child }
}

export function startLoad(): LoadGenerator {
  const child = startChild(new URL('load-process.ts', import.meta.url))
  return {
    child,
    enlist: (fleet, sessions) => child.call('enlist', { fleet, sessions }),
    run: (job) => child.call('run', job),
  }
}

/** A process that sends the SQL of a rotation, without HTTP and without signing. */
export async function startStore(databaseUrl: string): Promise<LoadGenerator> {
  const child = startChild(new URL('store-process.ts', import.meta.url), {
    DATABASE_URL: databaseUrl,
    AUTH_SECRET: benchSecret,
  })
  return {
    child,
    enlist: (fleet, sessions) => child.call('enlist', { fleet, sessions }),
    run: (job) => child.call('run', job),
  }
}
