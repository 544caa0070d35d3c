import { expect } from 'vitest'
import type { TestApp } from './app.ts'

/** How many events of each kind the ledger holds, of all families or of one. */
export async function countKinds(
  app: TestApp,
  familyId: string | null = null,
): Promise<Record<string, number>> {
  const rows = await app.owner.ownerSql<{ kind: string; count: number }[]>`
    select kind, count(*)::int as count
    from token_audit.events
    where ${familyId}::uuid is null or family_id = ${familyId}
    group by kind
  `
  return Object.fromEntries(rows.map(({ kind, count }) => [kind, count]))
}

/** How many different attempts were granted a refresh, however often each was repeated. */
export async function countAttempts(app: TestApp): Promise<number> {
  const attempts = await app.owner.ownerSql`
    select distinct attempt_hash from token_ledger.token_event where kind in ('rotated', 'replayed')`
  return attempts.length
}

/** Expects a ledger without a reuse, whose chain verifies. */
export async function expectNoReuse(app: TestApp): Promise<void> {
  expect((await countKinds(app)).reuse_detected ?? 0).toBe(0)
  const sql = app.owner.ownerSql
  const [found] = await sql`select to_regprocedure('token_audit.verify_ledger()') as verify`
  if (found?.verify) expect(await sql`select * from token_audit.verify_ledger()`).toHaveLength(0)
}
