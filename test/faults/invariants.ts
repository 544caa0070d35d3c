import type { Sql } from 'postgres'
import type { Client } from './crowd.ts'

/**
 * What must be true after any fault, once every attempt is settled.
 *
 * @returns a line for each violation
 */
export async function findViolations(sql: Sql, clients: readonly Client[]): Promise<string[]> {
  const broken = await sql<{ family_id: string; problem: string }[]>`
    select family_id, problem from token_audit.verify_ledger()`
  const forked = await sql<{ family_id: string; live: number }[]>`
    select made.family_id, count(*)::integer as live
    from token_ledger.token_event made
    where made.kind in ('issued', 'rotated')
      and not exists (
        select
        from token_ledger.token_event later
        where later.family_id = made.family_id
          and (
            later.kind = 'rotated' and later.generation = made.generation + 1
            or later.kind in ('revoked', 'reuse_detected')))
    group by made.family_id
    having count(*) > 1`
  const reused = await sql<{ incident_id: string }[]>`
    select incident_id from token_audit.reuse_incidents`
  const made = await readMade(
    sql,
    clients.map(({ familyId }) => familyId),
  )
  return [
    ...broken.map((row) => `${row.family_id}: ${row.problem}`),
    ...forked.map((row) => `${row.family_id}: ${row.live} live tokens`),
    ...reused.map((row) => `${row.incident_id}: an honest client was taken for a thief`),
    ...clients.flatMap((client) => violationsOf(client, made.get(client.familyId) ?? [])),
  ]
}

type Made = { readonly generation: number; readonly hash: string }

function violationsOf(client: Client, made: readonly Made[]): string[] {
  const { familyId, generation, given, signedOut, surprises } = client
  const current = Math.max(...made.map((one) => one.generation))
  const inLedger = new Map(made.map((one) => [one.generation, one.hash]))
  const uncommitted = [...given].filter(([of, hash]) => inLedger.get(of) !== hash)
  return [
    ...surprises.map((said) => `${familyId}: was answered ${said}`),
    ...(signedOut === null ? [] : [`${familyId}: signed out, ${signedOut}`]),
    ...(generation === current ? [] : [`${familyId}: holds ${generation} of ${current}`]),
    ...uncommitted.map(([of]) => `${familyId}: was given a ${of} that the ledger does not hold`),
  ]
}

async function readMade(sql: Sql, familyIds: string[]): Promise<Map<string, Made[]>> {
  const rows = await sql<(Made & { family_id: string })[]>`
    select family_id, generation, encode(token_hash, 'hex') as hash
    from token_ledger.token_event
    where family_id = any(${familyIds}::uuid[]) and kind in ('issued', 'rotated')`
  const made = new Map<string, Made[]>(familyIds.map((familyId) => [familyId, []]))
  for (const { family_id, ...row } of rows) made.get(family_id)?.push(row)
  return made
}
