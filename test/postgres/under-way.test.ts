import { spawnSync } from 'node:child_process'
import { chownSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { nobodyUser } from '../../server/embedded-postgres/own-user.ts'
import { startCrowd } from '../faults/crowd.ts'
import { findViolations } from '../faults/invariants.ts'
import { command, serve, startCluster, type Cluster } from '../support/cluster.ts'
import { longTest, runsLong } from '../support/long.ts'
import { auth } from '../support/http.ts'
import { freePort } from '../support/server.ts'
import { signIn } from '../support/sessions.ts'
import { makeUser } from '../support/users.ts'
import { waitFor } from '../support/wait.ts'

let cluster: Cluster

beforeAll(async () => {
  cluster = await startCluster()
}, 60_000)

afterAll(() => cluster?.[Symbol.asyncDispose]())

longTest(
  'thirty restarts under load sign no client out, and leave no connection behind',
  { timeout: 240_000 },
  async () => {
    await cluster.exec('create database restarted')
    const url = cluster.url('restarted')
    const PORT = String(await freePort())
    let server = await serve(url, { PORT })
    const { email } = await makeUser(url)
    await using crowd = await startCrowd({ url: server.url, email, size: 12 })
    for (let restart = 0; restart < 30; restart++) {
      // Every third is a crash.
      await server.kill(restart % 3 === 2 ? 'SIGKILL' : 'SIGTERM')
      server = await serve(url, { PORT })
      expect(await crowd.served(performance.now(), 30_000)).not.toBeNull()
    }
    await crowd.rest(30_000)
    await server.kill('SIGTERM')
    expect(await findViolations(cluster.sql('restarted'), crowd.clients)).toEqual([])
    const left = () =>
      cluster.exec(`select from pg_stat_activity where datname = 'restarted'
      and application_name like 'token-ledger%'`)
    await waitFor(async () => (await left()).length === 0, 'Postgres has seen every connection end')
  },
)

/** A disk of 48 MB in memory, where the machine lets this process mount one. */
const disk = mkdtempSync(join(tmpdir(), 'token-ledger-disk-'))
const isMounted =
  runsLong && spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=48m', 'none', disk]).status === 0

afterAll(() => {
  if (isMounted) spawnSync('umount', ['-l', disk])
  rmSync(disk, { recursive: true, force: true })
})

test.runIf(isMounted)(
  'a full disk answers 503, and everything goes on when there is room',
  async () => {
    const folder = join(disk, 'space')
    mkdirSync(folder)
    chownSync(folder, nobodyUser.uid, nobodyUser.gid)
    await cluster.exec(`create tablespace small location '${folder}'`)
    await cluster.exec('create database filled tablespace small')
    const url = cluster.url('filled')
    await using server = await serve(url)
    const session = await signIn({ url: server.url, owner: { url } })
    const sql = cluster.sql('filled')
    await sql`create table junk (bytes text)`
    const fill = () => sql`insert into junk select repeat('x', 7000) from generate_series(1, 100)`
    for (;;)
      if (
        await fill().then(
          () => false,
          () => true,
        )
      )
        break
    for (;;)
      if (
        await sql`insert into junk values (repeat('x', 7000))`.then(
          () => false,
          () => true,
        )
      )
        break
    const attemptId = crypto.randomUUID()
    const refused = []
    let { refreshToken } = session
    // The pages that the ledger has already take a few hundred events more.
    for (let tried = 0; tried < 5_000; tried++) {
      const answer = await auth(server.url, 'refresh', { refreshToken, attemptId })
      if (answer.status !== 200) refused.push([answer.status, answer.reason])
      else if (tried > 0 && refused.length > 0) break
      refreshToken = answer.data?.refreshToken ?? refreshToken
      if (refused.length === 20) break
    }
    expect(new Set(refused.map(String))).toEqual(new Set(['503,service_unavailable']))
    // A truncate would first make another file.
    await sql`drop table junk`
    await sleep(100)
    expect((await auth(server.url, 'refresh', { refreshToken, attemptId })).status).toBe(200)
    expect((await command(url, ['ledger', 'verify'])).code).toBe(0)
  },
)
