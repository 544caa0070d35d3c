import { existsSync, readFileSync } from 'node:fs'
import postgres from 'postgres'
import { describe, expect, test } from 'vitest'
import { insertAdminAction } from '../../db/audit/admin-actions.ts'
import { endAllSessions, endSession } from '../../server/sessions/revocation.ts'
import { moveClock } from '../support/clock.ts'
import { startLedger, testCaller } from '../support/ledger.ts'

const readme = existsSync('README.md') ? readFileSync('README.md', 'utf8') : ''
const section = /^## For people who ask in SQL$(.*?)(?=^## |$(?![^]))/ms.exec(readme)?.[1] ?? ''
const queries = [...section.matchAll(/\n([^\n]+):\n\n```sql( none)?\n(.*?)\n```/gs)].map(
  ([, title = '', none, query = '']) => ({ title, isEmpty: none !== undefined, query }),
)

describe.runIf(section !== '')('the queries of the README', () => {
  test('each runs as the auditor, who can read nothing else, and finds what it says', async () => {
    await using ledger = await startLedger()
    const { ownerSql } = ledger.owner
    const ada = await ledger.makeUser()
    const admin = await ledger.makeUser('admin')
    await ownerSql`
      update token_ledger.user_account set email = 'ada@example.com' where user_id = ${ada.id}`
    const first = await ledger.start(ada)
    await ledger.refresh(first)
    await ledger.refresh(first)
    await moveClock(ownerSql, 20_000)
    await ledger.refresh(first).catch(() => {})
    await moveClock(ownerSql, 0)
    const second = await ledger.start(ada)
    await endSession(
      ledger.deps,
      {
        familyId: second.familyId,
        inSameTransaction: (within) =>
          insertAdminAction(within, {
            action: 'session_revoked',
            actorUserId: admin.id,
            familyId: second.familyId,
            reason: 'asked',
          }),
      },
      { reason: 'admin_revoked', actorUserId: admin.id, caller: testCaller },
    )
    await ledger.start(ada)
    await endAllSessions(ledger.deps, ada.id, {
      by: { reason: 'password_changed', actorUserId: ada.id, caller: testCaller },
    })
    await moveClock(ownerSql, -3_600_000)
    await ledger.start(await ledger.makeUser())
    await moveClock(ownerSql, 0)

    const auditor = postgres(ledger.owner.url, {
      max: 1,
      onnotice: () => {},
      connection: { role: 'token_ledger_auditor' },
    })
    try {
      expect(queries.length).toBeGreaterThanOrEqual(12)
      for (const { title, isEmpty, query } of queries) {
        const rows = await auditor.unsafe(query)
        expect([title, rows.length > 0]).toEqual([title, !isEmpty])
      }
    } finally {
      await auditor.end()
    }
  })
})

test('the auditor can read token_audit and nothing else', async () => {
  await using ledger = await startLedger()
  const { familyId } = await ledger.start(await ledger.makeUser())
  const auditor = postgres(ledger.owner.url, {
    max: 1,
    connection: { role: 'token_ledger_auditor' },
  })
  try {
    const objects = await ledger.owner.ownerSql<{ name: string }[]>`
      select format('%I.%I', schemaname, relname) as name
      from (
        select schemaname, tablename as relname from pg_tables
        union all
        select schemaname, viewname from pg_views
      ) t
      where schemaname like 'token\\_%'`
    for (const { name } of objects) {
      const mayRead = await auditor.unsafe(`select * from ${name}`).then(
        () => true,
        (error: { code: string }) => (error.code === '42501' ? false : Promise.reject(error)),
      )
      expect([name, mayRead]).toEqual([name, name.startsWith('token_audit.')])
    }
    const [verdict] = await auditor`select intact from token_audit.verify_family(${familyId})`
    expect(verdict).toEqual({ intact: true })
    const [state] = await auditor`
      select status from token_audit.session_state_at(${familyId}, now() + interval '1 minute')`
    expect(state).toEqual({ status: 'active' })
    const write = auditor`insert into token_audit.events (seq) values (1)`
    await expect(write).rejects.toMatchObject({ code: expect.stringMatching(/^(42501|55000)$/) })
    const erase = auditor`select token_ledger.erase_traces(${familyId})`
    await expect(erase).rejects.toMatchObject({ code: '42501' })
  } finally {
    await auditor.end()
  }
})
