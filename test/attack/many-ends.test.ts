import { expect, test } from 'vitest'
import { createVerifier } from '../../server/verifier/verifier.ts'
import { startApp, type TestApp } from '../support/app.ts'
import { feedToken } from '../support/feed.ts'
import { auth, query } from '../support/http.ts'
import { metricOf } from '../support/metrics.ts'
import { signIn } from '../support/sessions.ts'
import { repeats } from '../support/long.ts'

const timeout = 300_000
const many = repeats(20_500, 100_500)

/** Sessions that began and ended within the last ten minutes, five of each user. */
async function endMany({ owner }: TestApp): Promise<void> {
  await owner.ownerSql.begin(async (tx) => {
    await tx`
      create temporary table made on commit drop as
      select
        (left(token_ledger.first_family_id(at)::text, 14) || '7' || right(md5(n::text)::uuid::text, 21))::uuid as id,
        md5('user ' || n / 5)::uuid as user_id,
        at
      from generate_series(1, ${many}::int) n,
        lateral (
          select date_trunc('milliseconds', clock_timestamp()) - interval '10 minutes' + n * interval '5 milliseconds' as at
        ) t`
    await tx`
      insert into token_ledger.token_family (family_id, user_id, transport, created_at, absolute_expires_at)
      select id, user_id, 'body', at, at + interval '30 days' from made`
    await tx`
      insert into token_ledger.token_event
        (family_id, seq, kind, generation, occurred_at, expires_at, absolute_expires_at, user_id, transport, token_hash)
      select id, 1, 'issued', 0, at, at + interval '7 days', at + interval '30 days', user_id, 'body', sha256('x')
      from made`
    await tx`
      insert into token_ledger.token_event (family_id, seq, kind, generation, occurred_at, reason)
      select id, 2, 'revoked', 0, at, 'session_limit' from made`
    await tx`notify token_ledger_ends, '0'`
  })
}

test(
  'tens of thousands of ends in ten minutes: followers refuse the ended sessions and no other',
  {
    timeout,
  },
  async () => {
    await using app = await startApp({ REVOCATIONS_TOKEN: feedToken })
    const [stays, ends] = [await signIn(app), await signIn(app)]
    const source = { issuer: app.url, audience: app.url, revocations: { token: feedToken } }
    const follow = () => createVerifier(source)
    const outcome = (verifier: ReturnType<typeof follow>, token: string) =>
      verifier.verify(token).then(
        () => 'accepted',
        (error: { reason?: string }) => error.reason,
      )
    const before = follow()
    expect(await outcome(before, stays.accessToken)).toBe('accepted')

    await endMany(app)
    await auth(app.url, 'logout', { refreshToken: ends.refreshToken })
    await expect
      .poll(() => metricOf(app.url, 'token_ledger_ended_sessions'), { timeout: 60_000 })
      .toBe(many + 1)
    // One that follows from before and one that starts now, which reads all of them first.
    const later = follow()
    for (const verifier of [before, later]) {
      await expect
        .poll(() => outcome(verifier, ends.accessToken), { timeout: 30_000 })
        .toBe('access_token_revoked')
      await expect
        .poll(() => outcome(verifier, stays.accessToken), { timeout: 30_000 })
        .toBe('accepted')
      verifier.close()
    }
    expect((await query(app.url, 'me', stays.accessToken)).status).toBe(200)
    expect((await query(app.url, 'me', ends.accessToken)).reason).toBe('access_token_revoked')
  },
)
