import {
  createCipheriv,
  generateKeyPairSync,
  hkdfSync,
  randomBytes,
  type KeyObject,
} from 'node:crypto'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { startApp, type TestApp } from '../support/app.ts'
import { cli } from '../support/cli.ts'
import { moveClock } from '../support/clock.ts'
import { freshDatabase, type FreshDatabase } from '../support/database.ts'
import { es256, openForge, segment } from '../support/forge.ts'
import { query } from '../support/http.ts'
import { sqlStateOf } from '../support/ledger-rows.ts'
import { loginWith } from '../support/login.ts'
import { metricOf } from '../support/metrics.ts'
import { freePort, startServer, testSecret } from '../support/server.ts'
import { signIn, type BodySession } from '../support/sessions.ts'
import { waitFor } from '../support/wait.ts'

type KeyRow = { kid: string; sealed_private_key: Buffer; created_at: Date; signs_from: Date }

/** Each test starts processes, and some wait for reloads. */
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

const day = 24 * 3_600_000

/** Often, because most of these tests wait for the next reload. */
const signingKeyReloadMs = 200

let owner: FreshDatabase
let server: TestApp
let port: string
let session: BodySession
/** What the service has logged since its start. */
let lines: string[]

beforeEach(async () => {
  owner = await freshDatabase()
  port = String(await freePort())
  server = await start()
  session = await signIn(server)
})
afterEach(async () => {
  await server[Symbol.asyncDispose]()
  await owner[Symbol.asyncDispose]()
})

/** The database stays when the service stops. */
function start(): Promise<TestApp> {
  lines = []
  const logger = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) })
  const kept = { ...owner, [Symbol.asyncDispose]: async () => {} }
  return startApp({ PORT: port }, { owner: kept, signingKeyReloadMs, logger })
}

/** The same issuer, started again. */
async function restart(): Promise<void> {
  await server[Symbol.asyncDispose]()
  server = await start()
}

async function publishedKeys(): Promise<Record<string, string>[]> {
  const response = await fetch(`${server.url}/.well-known/jwks.json`)
  return ((await response.json()) as { keys: Record<string, string>[] }).keys
}

const keyRows = () =>
  owner.ownerSql<KeyRow[]>`select * from token_ledger.signing_key order by signs_from`

const putBack = (row: KeyRow) => owner.ownerSql`
  insert into token_ledger.signing_key ${owner.ownerSql({ ...row })}`

const junkRow = () => owner.ownerSql`
  insert into token_ledger.signing_key (kid, public_jwk, sealed_private_key, created_at, signs_from)
  values ('junk', '{}', ${randomBytes(200)}, now(), now() + interval '1 hour')`

const me = async (token: string) => {
  const { status, reason } = await query(server.url, 'me', token)
  return reason ?? status
}

/** The claims of our own session under a key of the attacker's, with a kid of the service. */
function forged(kid: string, key: KeyObject): string {
  const [, claims] = session.accessToken.split('.')
  const input = `${segment(JSON.stringify({ alg: 'ES256', typ: 'at+jwt', kid }))}.${claims}`
  return `${input}.${es256(key)(input).toString('base64url')}`
}

const linesWith = (message: string) => lines.filter((line) => line.includes(message))
const skippedLines = () => linesWith('a signing key is not used')

describe('JK-09 (ASVS 13.3.1, 9.1.3): what the database says about a key without AUTH_SECRET is not believed', () => {
  test('a swapped public_jwk is neither published nor accepted', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const [row] = await keyRows()
    const swapped = { ...publicKey.export({ format: 'jwk' }), kid: row!.kid, alg: 'ES256' }
    await owner.ownerSql`
      update token_ledger.signing_key set public_jwk = ${owner.ownerSql.json(swapped)}`
    await restart()
    const [key] = await publishedKeys()
    expect(key).toMatchObject({ kid: row!.kid })
    expect(key!.x).not.toBe(swapped.x)
    expect(await me(forged(row!.kid, privateKey))).toBe('access_token_invalid')
    expect(await me(session.accessToken)).toBe(200)
  })

  test('a key under another kid, or with other times, is skipped', async () => {
    await cli(owner.url, ['keys', 'rotate'])
    const [first, next] = await keyRows()
    await owner.ownerSql`
      update token_ledger.signing_key set signs_from = signs_from - interval '1 hour'
      where kid = ${next!.kid}`
    await restart()
    expect((await publishedKeys()).map(({ kid }) => kid)).toEqual([first!.kid])
    await owner.ownerSql`
      update token_ledger.signing_key set created_at = created_at - interval '1 hour', signs_from = ${next!.signs_from}
      where kid = ${next!.kid}`
    await restart()
    expect((await publishedKeys()).map(({ kid }) => kid)).toEqual([first!.kid])
    expect(skippedLines()).toHaveLength(1)
    expect(await me(session.accessToken)).toBe(200)
  })

  test('a key whose kid is not its thumbprint is skipped, although AUTH_SECRET opens it', async () => {
    const sealed = sealedAsBefore0016('another', await privateJwk())
    await owner.ownerSql`
      update token_ledger.signing_key set kid = 'another', sealed_private_key = ${sealed}`
    await server[Symbol.asyncDispose]()
    await expect(start()).rejects.toThrow(/"another": its kid is not the thumbprint of its key/)
    await owner.ownerSql`delete from token_ledger.signing_key`
    server = await start()
  })

  test('the role of the service may change nothing of a key but its sealed bytes', async () => {
    await using service = await loginWith(owner, { roles: ['token_ledger_app'] })
    for (const statement of [
      "update token_ledger.signing_key set public_jwk = '{}'",
      "update token_ledger.signing_key set kid = 'x'",
      'update token_ledger.signing_key set signs_from = now()',
      'insert into token_ledger.signing_key_removal (kid) select kid from token_ledger.signing_key',
      'delete from token_ledger.signing_key_removal',
      'update token_ledger.signing_key_removal set kid = kid',
    ])
      expect([statement, await sqlStateOf(service.sql.unsafe(statement))]).toEqual([
        statement,
        '42501',
      ])
  })
})

describe('JK-10: a key that was removed as compromised', () => {
  let forgedAhead: string
  let removed: KeyRow

  beforeEach(async () => {
    const forge = await openForge(owner.url)
    forgedAhead = forge.mint(session.accessToken, { claims: { role: 'admin' } })
    removed = (await keyRows())[0]!
    await waitFor(async () => (await me(forgedAhead)) === 200)
    await cli(owner.url, ['keys', 'rotate', '--compromised'])
    await waitFor(async () => (await me(forgedAhead)) === 'access_token_invalid')
  })

  test('stays removed when its row is restored, in running processes and in new ones', async () => {
    await putBack(removed)
    await waitFor(async () => skippedLines().length === 1)
    expect(await me(forgedAhead)).toBe('access_token_invalid')
    await restart()
    expect(await me(forgedAhead)).toBe('access_token_invalid')
    const kids = (await publishedKeys()).map(({ kid }) => kid)
    expect(kids).toHaveLength(1)
    expect(kids).not.toContain(removed.kid)
    expect(skippedLines().join()).toContain('it was removed before')
  })

  test('stays removed in a running process whatever the database says, if it was in use there', async () => {
    await owner.ownerSql.begin(async (tx) => {
      await tx`alter table token_ledger.signing_key_removal disable trigger all`
      await tx`delete from token_ledger.signing_key_removal`
      await tx`delete from token_ledger.signing_key`
      await tx`alter table token_ledger.signing_key_removal enable always trigger refuse_change`
      await tx`insert into token_ledger.signing_key ${tx({ ...removed })}`
    })
    await waitFor(async () => skippedLines().length === 1)
    const key = await waitFor(async () => (await publishedKeys())[0])
    expect(key.kid).not.toBe(removed.kid)
    expect(await me(forgedAhead)).toBe('access_token_invalid')
  })
})

describe('JK-11: a key row that cannot be used', () => {
  test('is skipped with one line and a number, while removals are felt and new keys taken up', async () => {
    await junkRow()
    await waitFor(async () => skippedLines().length === 1)
    await owner.ownerSql`delete from token_ledger.signing_key where kid <> 'junk'`
    await expect.poll(() => me(session.accessToken)).toBe('access_token_invalid')
    const key = await waitFor(async () => (await publishedKeys())[0])
    expect(new Set((await keyRows()).map(({ kid }) => kid))).toEqual(new Set(['junk', key.kid]))
    expect(await me((await signIn(server)).accessToken)).toBe(200)
    expect(skippedLines()).toHaveLength(1)
    expect(skippedLines()[0]).toContain('"kid":"junk"')
    expect(await metricOf(server.url, 'token_ledger_signing_keys{state="skipped"}')).toBe(1)
    expect(await metricOf(server.url, 'token_ledger_signing_keys{state="usable"}')).toBe(1)
    expect(await metricOf(server.url, 'token_ledger_signing_keys_age_seconds')).toBeLessThan(10)
  })

  test('keeps no process from starting, and no emergency command from its work', async () => {
    await junkRow()
    await restart()
    expect(await me(session.accessToken)).toBe(200)
    const { code, stdout } = await cli(owner.url, ['keys', 'rotate', '--compromised'])
    expect(code).toBe(0)
    expect((await keyRows()).map(({ kid }) => kid)).toEqual([stdout.trim()])
  })

  test('stops a start with a line that says so, if there is no other key', async () => {
    await server[Symbol.asyncDispose]()
    await owner.ownerSql`delete from token_ledger.signing_key`
    await junkRow()
    await expect(startServer(owner.url, { PORT: port })).rejects.toThrow(
      /token-ledger: AUTH_SECRET cannot decrypt the signing keys in this database; set it/,
    )
    await owner.ownerSql`delete from token_ledger.signing_key`
    server = await start()
  })

  test('a reload that fails is reported once, and the age of the keys grows', async () => {
    const ageSeconds = () => metricOf(server.url, 'token_ledger_signing_keys_age_seconds')
    await owner.ownerSql`alter table token_ledger.signing_key rename to hidden`
    // Several reloads fail meanwhile.
    await expect.poll(ageSeconds).toBeGreaterThan(1.5)
    expect(await me(session.accessToken)).toBe(200)
    await owner.ownerSql`alter table token_ledger.hidden rename to signing_key`
    await expect.poll(ageSeconds).toBeLessThan(1.5)
    expect(linesWith('the signing keys cannot be kept up to date')).toHaveLength(1)
  })
})

test('JK-12: automatic rotation deletes a key once its last token has expired', async () => {
  const [first] = await keyRows()
  await moveClock(owner.ownerSql, 31 * day)
  await waitFor(async () => (await keyRows()).length === 2)
  await moveClock(owner.ownerSql, 31 * day + 3_600_000)
  await waitFor(async () => (await keyRows()).length === 1)
  expect((await keyRows())[0]!.kid).not.toBe(first!.kid)
  expect(
    await owner.ownerSql`select from token_ledger.signing_key_removal where kid = ${first!.kid}`,
  ).toHaveLength(1)
})

describe('a key that was sealed before 0016, without its times', () => {
  let old: KeyRow

  beforeEach(async () => {
    const [row] = await keyRows()
    old = { ...row!, sealed_private_key: sealedAsBefore0016(row!.kid, await privateJwk()) }
    await owner.ownerSql`
      update token_ledger.signing_key set sealed_private_key = ${old.sealed_private_key}`
    await restart()
  })

  test('goes on', async () => {
    expect(await me(session.accessToken)).toBe(200)
    expect((await publishedKeys()).map(({ kid }) => kid)).toEqual([old.kid])
    expect(skippedLines()).toEqual([])
  })

  test('ends when a key of the new kind has replaced it, whatever its times say', async () => {
    expect((await cli(owner.url, ['keys', 'rotate'])).code).toBe(0)
    await owner.ownerSql`
      update token_ledger.signing_key set signs_from = now() + interval '1 day'
      where kid = ${old.kid}`
    await restart()
    await moveClock(owner.ownerSql, 3_600_000)
    await waitFor(async () => (await keyRows()).every(({ kid }) => kid !== old.kid))
    expect(await me(session.accessToken)).toBe('access_token_invalid')
  })
})

/** The private half of the key that signs. */
async function privateJwk(): Promise<string> {
  const { privateKey } = await openForge(owner.url)
  return JSON.stringify(privateKey.export({ format: 'jwk' }))
}

/** As versions before 0016 sealed keys: with the kid alone as additional data. */
function sealedAsBefore0016(kid: string, jwk: string): Buffer {
  const key = Buffer.from(hkdfSync('sha256', testSecret, '', 'token-ledger signing key seal', 32))
  const iv = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(Buffer.from(kid))
  const ciphertext = Buffer.concat([cipher.update(jwk, 'utf8'), cipher.final()])
  return Buffer.concat([iv, cipher.getAuthTag(), ciphertext])
}
