import { randomBytes, randomUUID } from 'node:crypto'
import { connect, type Database } from '../../db/connection/connect.ts'
import { readLedger } from '../../db/audit/export.ts'
import type { createAccounts } from '../../server/users/accounts.ts'
import type { ExportEnd, EventRecord, FamilyRecord } from '../../server/ledger/record.ts'
import { createRotation, type Rotate } from '../../server/sessions/rotation.ts'
import { startSession } from '../../server/sessions/sign-in.ts'
import { createSignOut, type SignOut } from '../../server/sessions/sign-out.ts'
import type { LiveSession, SessionDeps, SessionPolicy } from '../../server/sessions/session.ts'
import type { User } from '../../server/users/directory.ts'
import { serviceUrl } from './admin.ts'
import { freshDatabase, type FreshDatabase } from './database.ts'
import { sessionDeps, testCaller, testSignIn } from './session-deps.ts'

/** The service's functions in this process, on a database of its own, without HTTP. */
export type TestLedger = AsyncDisposable & {
  readonly owner: FreshDatabase
  /** Connected as the service is: with a login that is only a member of token_ledger_app. */
  readonly database: Database
  readonly deps: SessionDeps & { readonly users: ReturnType<typeof createAccounts> }
  readonly rotate: Rotate
  readonly signOut: SignOut
  /** Creates a user with an e-mail address and an unusable password hash, because hashing is slow. */
  makeUser(role?: 'user' | 'admin'): Promise<User>
  start(user: User, options?: Partial<Parameters<typeof startSession>[1]>): Promise<LiveSession>
  refresh(session: LiveSession, attemptId?: string | null): Promise<LiveSession>
}

export { testCaller }

/** @param of another ledger or app, whose database this one shares as a second process would; without it, a new database */
export async function startLedger(
  policy: Partial<SessionPolicy> = {},
  of?: Pick<TestLedger, 'owner'>,
): Promise<TestLedger> {
  const owner = of?.owner ?? (await freshDatabase())
  const database = connect(serviceUrl(owner.url), { role: 'token_ledger_app' })
  const deps = sessionDeps(database, policy)
  const { rotate } = createRotation(deps)
  return {
    owner,
    database,
    deps,
    rotate,
    signOut: createSignOut(deps),
    async makeUser(role = 'user') {
      const id = randomUUID()
      const email = `user-${id}@example.com`
      await owner.ownerSql`
        insert into token_ledger.user_account (user_id, email, password_hash, role)
        values (${id}, ${email}, ${randomBytes(8).toString('hex')}, ${role})`
      return { id, email, role, disabled: false }
    },
    start: (user, options) => startSession(deps, { user, ...testSignIn, ...options }),
    refresh: ({ token, transport }, attemptId = null) =>
      rotate({ token, transport, attemptId, caller: testCaller }),
    async [Symbol.asyncDispose]() {
      await database.close()
      if (of === undefined) await owner[Symbol.asyncDispose]()
    },
  }
}

/** A session whose first token is spent. */
export async function spentOnce(ledger: TestLedger): Promise<LiveSession> {
  const first = await ledger.start(await ledger.makeUser())
  await ledger.refresh(first)
  return first
}

/** The lines of an export of the whole ledger. */
export async function exportLines(database: Database): Promise<string[]> {
  const records: (FamilyRecord | EventRecord)[] = []
  const found = await readLedger(database.transactions, { fromAt: null, toAt: null }, (record) => {
    records.push(record)
  })
  const end: ExportEnd = { record: 'end', ...found }
  const begin = { record: 'export', version: 3, from: null, to: null }
  return [begin, ...records, end].map((record) => JSON.stringify(record))
}

/** Runs a statement with all triggers disabled, as a superuser can. */
export async function tamper(
  owner: Pick<FreshDatabase, 'ownerSql'>,
  statement: string,
): Promise<void> {
  const tables = ['token_event', 'token_family']
  const partitions = await owner.ownerSql<{ name: string }[]>`
    select inhrelid::regclass::text as name from pg_inherits
    where inhparent in ('token_ledger.token_event'::regclass, 'token_ledger.token_family'::regclass)`
  const all = [...tables.map((t) => `token_ledger.${t}`), ...partitions.map((p) => p.name)]
  await owner.ownerSql.begin(async (tx) => {
    for (const name of all) await tx.unsafe(`alter table ${name} disable trigger all`)
    await tx.unsafe(statement)
    for (const name of all)
      await tx.unsafe(
        `do $$ declare t text; begin
          for t in select tgname from pg_trigger where tgrelid = '${name}'::regclass loop
            execute format('alter table ${name} enable always trigger %I', t);
          end loop;
        end $$`,
      )
  })
}

/** Creates the partitions of a month, as `ensure_partitions` does ahead of time. */
export async function makeMonth({ ownerSql }: FreshDatabase, month: string): Promise<void> {
  const begins = `${month.slice(0, 4)}-${month.slice(4)}-01T00:00:00Z`
  for (const parent of ['token_family', 'token_event']) {
    const [range] = await ownerSql<{ first: string; next: string }[]>`
      select
        token_ledger.first_family_id(${begins}::timestamptz) as first,
        token_ledger.first_family_id(
          (${begins}::timestamptz at time zone 'UTC' + interval '1 month') at time zone 'UTC') as next`
    await ownerSql.unsafe(
      `create table token_ledger.${parent}_${month} partition of token_ledger.${parent}
       for values from ('${range!.first}') to ('${range!.next}')`,
    )
    await ownerSql`select token_ledger.guard_partition(${`${parent}_${month}`})`
  }
}
