import type postgres from 'postgres'
import type { Statements } from '../connection/connect.ts'
import { inSnapshot, type Found, highestId, lowestId, pieces } from './export.ts'

/** A family whose events do not verify, or that `open_family` contradicts. */
export type BrokenFamily = {
  readonly familyId: string
  readonly firstBrokenSeq: number
  readonly problem: string
}

/**
 * Checks the whole ledger in SQL, in pieces, from one snapshot. It may run for minutes.
 *
 * @param sql a pool; the check holds one of its connections, in a read-only transaction
 * @param onPiece called after each piece with the totals and the broken families so far; an error that it throws ends
 *   the check
 */
export async function checkLedger(
  sql: postgres.Sql,
  onPiece: (found: Found, broken: readonly BrokenFamily[]) => void,
): Promise<Found & { broken: BrokenFamily[] }> {
  return inSnapshot(sql, async (tx) => {
    const broken: BrokenFamily[] = []
    let found: Found = { families: 0, events: 0 }
    for await (const { first, last } of pieces(tx, lowestId, highestId)) {
      const rows = await tx<PieceRow[]>`
        with checked as materialized (
          select family_id, events, first_broken_seq, problem
          from token_ledger.check_families(${first}::uuid, ${last}::uuid)
        ),
        broken as (
          select family_id, first_broken_seq, problem
          from checked
          where problem is not null
          union all
          select family_id, first_broken_seq, problem
          from token_ledger.check_open_families(${first}::uuid, ${last}::uuid)
          where family_id not in (select family_id from checked where problem is not null)
        )
        select
          (select count(*)::integer from checked) as families,
          (select coalesce(sum(events), 0)::integer from checked) as events,
          coalesce(
            jsonb_agg(
              jsonb_build_object(
                'familyId', family_id, 'firstBrokenSeq', first_broken_seq, 'problem', problem)
              order by family_id), '[]')::text as broken
        from broken`
      for (const row of rows) {
        broken.push(...(JSON.parse(row.broken) as BrokenFamily[]))
        found = { families: found.families + row.families, events: found.events + row.events }
      }
      onPiece(found, broken)
    }
    return { ...found, broken }
  })
}

/** How many families there are. Reads an index of them: a second for some million. */
export async function countFamilies({ statements: sql }: Statements): Promise<number> {
  const [row] = await sql<{ families: number }[]>`
    select count(*)::float8 as families from token_ledger.token_family`
  return row?.families ?? 0
}

type PieceRow = { families: number; events: number; broken: string }
