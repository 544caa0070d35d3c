import fs from 'node:fs'
import { afterEach, expect, test, vi } from 'vitest'
import { startApp } from '../support/app.ts'
import { waitFor } from '../support/wait.ts'

afterEach(() => vi.restoreAllMocks())

test('/readyz reads no file', async () => {
  await using app = await startApp()
  const read = vi.spyOn(fs, 'readFileSync')
  for (let i = 0; i < 3; i++) expect((await fetch(`${app.url}/readyz`)).status).toBe(200)
  expect(read.mock.calls).toEqual([])
})

test('callers who ask /readyz at once share one statement, and a later one asks again', async () => {
  await using app = await startApp()
  const { ownerSql } = app.owner
  const holder = await ownerSql.reserve()
  await holder`begin`
  await holder`lock table token_ledger_migrations.applied in access exclusive mode`
  const asking = Array.from({ length: 50 }, () => fetch(`${app.url}/readyz`))
  const waiting = async () => {
    const rows = await ownerSql`
      select from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock' and query like '%applied%'`
    return rows.length
  }
  await waitFor(async () => (await waiting()) > 0)
  // Answered after all of the fifty have arrived.
  expect((await fetch(`${app.url}/healthz`)).status).toBe(200)
  expect(await waiting()).toBe(1)
  await holder`rollback`
  holder.release()
  const statuses = (await Promise.all(asking)).map(({ status }) => status)
  expect(new Set(statuses)).toEqual(new Set([200]))
  await ownerSql`alter table token_ledger_migrations.applied rename to other`
  expect((await fetch(`${app.url}/readyz`)).status).toBe(503)
})
