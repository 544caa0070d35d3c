import type { Sql } from 'postgres'

/**
 * Where a backend of the service waits: when it appends to the ledger, when it reads this table, or at a step of the log:
 * a new leaf, a new node, the commit of leaves, a new checkpoint.
 */
type Where = 'insert' | 'user_account' | LogStep

export type LogStep = 'log_leaf' | 'log_node' | 'commit_leaves' | 'log_checkpoint'

const gates: Record<Where, string> = {
  // Runs before chain_event, because triggers run in the order of their names.
  insert: triggerOn('token_event'),
  // Row security does not apply to the owner of the table, nor to the owner's views.
  user_account: `
    alter table token_ledger.user_account enable row level security;
    drop policy if exists a_gate on token_ledger.user_account;
    create policy a_gate on token_ledger.user_account to token_ledger_app
    using (public.pass_gate()) with check (true)`,
  log_leaf: triggerOn('log_leaf'),
  log_node: triggerOn('log_node'),
  log_checkpoint: triggerOn('log_checkpoint'),
  commit_leaves: `
    drop trigger if exists a_gate_at_commit on token_ledger.log_leaf;
    create constraint trigger a_gate_at_commit after insert on token_ledger.log_leaf
    deferrable initially deferred for each row execute function public.pass_gate_first()`,
}

function triggerOn(table: string): string {
  return `
    drop trigger if exists a_gate on token_ledger.${table};
    create trigger a_gate before insert on token_ledger.${table}
    for each row execute function public.pass_gate_first()`
}

export type Gate = AsyncDisposable & {
  /** The pid of the first backend that waits; undefined while none does. */
  firstWaiter(): Promise<number | undefined>
}

/** Makes every backend of the service wait here, until disposed. */
export async function shutGate(ownerSql: Sql, where: Where): Promise<Gate> {
  const gate = 4711
  await ownerSql.unsafe(`
    create or replace function public.pass_gate() returns boolean language plpgsql volatile as $$
    begin
      perform pg_advisory_xact_lock_shared(${gate});
      return true;
    end $$;
    create or replace function public.pass_gate_first() returns trigger language plpgsql as $$
    begin
      perform public.pass_gate();
      return new;
    end $$`)
  const holder = await ownerSql.reserve()
  await holder`select pg_advisory_lock(${gate})`
  await ownerSql.unsafe(gates[where])
  let isShut = true
  return {
    async firstWaiter(): Promise<number | undefined> {
      const [row] = await ownerSql<{ pid: number }[]>`
        select pid from pg_locks
        where locktype = 'advisory' and objid = ${gate} and not granted
          and database = (select oid from pg_database where datname = current_database())`
      return row?.pid
    },
    async [Symbol.asyncDispose]() {
      if (!isShut) return
      isShut = false
      await holder`select pg_advisory_unlock(${gate})`
      holder.release()
    },
  }
}
