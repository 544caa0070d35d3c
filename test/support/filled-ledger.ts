import type { Sql } from 'postgres'

/** Writes families of three events each, a sign-in and two rotations, as the owner of the ledger. */
export async function fillLedger(
  sql: Sql,
  { userId, families }: { userId: string; families: number },
): Promise<void> {
  await sql`drop table if exists public.made`
  await sql`
    create table public.made as
    select
      (left(token_ledger.first_family_id(at)::text, 14) || '7' || right(gen_random_uuid()::text, 21))::uuid as id,
      at
    from generate_series(0, ${families - 1}::int) n,
      lateral (select date_trunc('milliseconds', now()) - n * interval '1 millisecond' as at) t`
  await sql.begin(async (tx) => {
    await tx`
      insert into token_ledger.token_family (family_id, user_id, transport, created_at, absolute_expires_at)
      select id, ${userId}::uuid, 'body', at, at + interval '30 days' from public.made`
    await tx`
      insert into token_ledger.token_event
        (family_id, seq, kind, generation, occurred_at, expires_at, absolute_expires_at, user_id, transport, token_hash)
      select id, 1, 'issued', 0, at, at + interval '7 days', at + interval '30 days', ${userId}::uuid, 'body', sha256('x')
      from public.made`
  })
  for (const generation of [1, 2])
    await sql`
      insert into token_ledger.token_event
        (family_id, seq, kind, generation, occurred_at, expires_at, absolute_expires_at, token_hash, salt)
      select
        id, ${generation + 1}::int, 'rotated', ${generation}::int, at, at + interval '7 days',
        at + interval '30 days', sha256('y'), decode(repeat('00', 16), 'hex')
      from public.made`
}
