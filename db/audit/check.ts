import type postgres from 'postgres'
import { atOneMoment, type Found, highestId, lowestId, pieces } from './export.ts'

export type BrokenFamily = {
  readonly familyId: string
  readonly firstBrokenSeq: number
  readonly problem: string
}

/**
 * Checks the whole ledger as it was at one moment, in SQL, a piece at a time.
 *
 * @param onPiece told after each piece
 */
export async function checkLedger(
  sql: postgres.Sql,
  onPiece: (found: Found) => void,
): Promise<Found & { broken: BrokenFamily[] }> {
  return atOneMoment(sql, async (tx) => {
    const broken: BrokenFamily[] = []
    let found: Found = { families: 0, events: 0 }
    for await (const { first, last } of pieces(tx, lowestId, highestId)) {
      const rows = await tx<PieceRow[]>`
        select
          count(*)::integer as families,
          coalesce(sum(events), 0)::integer as events,
          coalesce(
            jsonb_agg(
              jsonb_build_object(
                'familyId', family_id, 'firstBrokenSeq', first_broken_seq, 'problem', problem)
              order by family_id)
            filter (where problem is not null), '[]')::text as broken
        from token_ledger.check_families(${first}::uuid, ${last}::uuid)`
      for (const row of rows) {
        broken.push(...(JSON.parse(row.broken) as BrokenFamily[]))
        found = { families: found.families + row.families, events: found.events + row.events }
      }
      onPiece(found)
    }
    return { ...found, broken }
  })
}

type PieceRow = { families: number; events: number; broken: string }
