import { expect, test } from 'vitest'
import { startApp } from '../support/app.ts'
import { auth } from '../support/http.ts'
import { signIn } from '../support/sessions.ts'
import { testPassword } from '../support/users.ts'

test.each(['40001', '40P01'])(
  'a conflict with other transactions that does not end (%s) is answered 503 with Retry-After, and changes nothing',
  async (code) => {
    await using app = await startApp()
    const { refreshToken, email } = await signIn(app)
    const { ownerSql } = app.owner
    await ownerSql.unsafe(`
      create function public.conflict() returns trigger language plpgsql as $$
      begin
        raise exception 'conflict' using errcode = '${code}';
      end $$;
      create trigger a_conflict before insert on token_ledger.token_event
        for each row execute function public.conflict();
      create trigger a_conflict before insert on token_ledger.user_account
        for each row execute function public.conflict()`)
    const inputs: Record<string, unknown> = {
      register: { email: 'new@example.com', password: testPassword },
      login: { email, password: testPassword },
      refresh: { refreshToken },
      logout: { refreshToken },
    }
    for (const [procedure, input] of Object.entries(inputs)) {
      const { status, reason, headers } = await auth(app.url, procedure, input)
      expect([procedure, status, reason, headers.get('retry-after')]).toEqual([
        procedure,
        503,
        'service_unavailable',
        '1',
      ])
    }
    await ownerSql.unsafe(`
      drop trigger a_conflict on token_ledger.token_event;
      drop trigger a_conflict on token_ledger.user_account`)
    expect((await auth(app.url, 'refresh', { refreshToken })).status).toBe(200)
  },
)
