import { decodeProtectedHeader } from 'jose'
import { describe, expect, test } from 'vitest'
import { connect } from '../../db/connection/connect.ts'
import { replaceSigningKeys, rotateSigningKey } from '../../server/tokens/key-changes.ts'
import { loadSigningKeys } from '../../server/tokens/signing-keys.ts'
import { startApp } from '../support/app.ts'
import { moveClock } from '../support/clock.ts'
import { freshDatabase } from '../support/database.ts'
import { auth, query } from '../support/http.ts'
import { cli } from '../support/cli.ts'
import { startServer, testSecret } from '../support/server.ts'
import { signIn } from '../support/sessions.ts'

const minute = 60_000
const otherSecret = 'mQ4vZ8sLk2Xw9Rt6Yb3Nc7Jd1Hf5Gp0AeUiOaSxTzVyBnC'

async function jwksOf(url: string) {
  const response = await fetch(`${url}/.well-known/jwks.json`)
  const { keys } = (await response.json()) as { keys: Record<string, string>[] }
  return { keys, headers: response.headers }
}

/** The service's keys by themselves, as one process holds them. */
async function openKeys(secrets: [string, ...string[]] = [testSecret]) {
  const owner = await freshDatabase()
  const database = connect(owner.url, { role: 'token_ledger_app', maxConnections: 2 })
  const keys = await loadSigningKeys(database, secrets)
  return {
    owner,
    database,
    keys,
    async [Symbol.asyncDispose]() {
      keys.close()
      await database.close()
      await owner[Symbol.asyncDispose]()
    },
  }
}

test('several processes that start together create one first key', async () => {
  await using owner = await freshDatabase()
  const servers = await Promise.all(Array.from({ length: 3 }, () => startServer(owner.url)))
  const published = await Promise.all(servers.map(({ url }) => jwksOf(url)))
  expect(published[0]?.keys).toHaveLength(1)
  for (const { keys } of published) expect(keys).toEqual(published[0]?.keys)
  expect(await owner.ownerSql`select from token_ledger.signing_key`).toHaveLength(1)
  await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()))
})

test('twenty loads at once on an empty table create one key as well', async () => {
  await using owner = await freshDatabase()
  const database = connect(owner.url, { role: 'token_ledger_app' })
  const loaded = await Promise.all(
    Array.from({ length: 20 }, () => loadSigningKeys(database, [testSecret])),
  )
  expect(new Set(loaded.map((keys) => keys.current().kid)).size).toBe(1)
  for (const keys of loaded) keys.close()
  await database.close()
})

test('AT-13 (ASVS 13.3.1): a private key is sealed at rest, and opens with no other secret', async () => {
  await using opened = await openKeys()
  const rows = await opened.owner.ownerSql`select * from token_ledger.signing_key`
  const [row] = rows
  expect(Object.keys(row?.public_jwk).toSorted()).toEqual(publicMembers)
  expect(row?.sealed_private_key.toString('latin1')).not.toMatch(/"d"|"kty"|P-256/)
  await expect(loadSigningKeys(opened.database, [otherSecret])).rejects.toThrow(/AUTH_SECRET/)
})

test('a sealed key is bound to its kid and does not open under another', async () => {
  await using opened = await openKeys()
  await opened.owner.ownerSql`update token_ledger.signing_key set kid = 'another'`
  await expect(loadSigningKeys(opened.database, [testSecret])).rejects.toThrow(/AUTH_SECRET/)
})

const publicMembers = ['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y']

test('JK-01, JK-02, JK-03, AT-03 (RFC 7517 §9.2): the JWKS has public members alone, with alg, use and kid, and may be cached', async () => {
  await using app = await startApp()
  const { keys, headers } = await jwksOf(app.url)
  expect(keys.map((key) => Object.keys(key).toSorted())).toEqual([publicMembers])
  expect(keys[0]).toMatchObject({ alg: 'ES256', use: 'sig', kty: 'EC', crv: 'P-256' })
  expect(headers.get('cache-control')).toBe('public, max-age=300')
  const { accessToken } = await signIn(app)
  expect(decodeProtectedHeader(accessToken)).toEqual({
    alg: 'ES256',
    typ: 'at+jwt',
    kid: keys[0]?.kid,
  })
})

describe('keys rotate', () => {
  test('JK-04 (RFC 9700 §2.6): keys rotate publishes the next key at once and signs with it once every verifier has seen it', async () => {
    await using opened = await openKeys()
    const { keys, owner } = opened
    const first = keys.current().kid
    const outcome = await cli(owner.url, ['keys', 'rotate'])
    expect(outcome.code).toBe(0)
    const next = outcome.stdout.trim()
    await keys.reload()
    expect(keys.jwks().keys.map(({ kid }) => kid)).toEqual([first, next])
    expect(keys.current().kid).toBe(first)

    // Twice the time that a verifier may cache the JWKS.
    await moveClock(owner.ownerSql, 9 * minute)
    await keys.reload()
    expect(keys.current().kid).toBe(first)
    await moveClock(owner.ownerSql, 10 * minute + 1000)
    await keys.reload()
    expect(keys.current().kid).toBe(next)
    expect(keys.jwks().keys.map(({ kid }) => kid)).toEqual([first, next])
  })

  test('JK-04 (RFC 9700 §2.6): keys rotate keeps the old key published until the last token it signed has expired, and no longer', async () => {
    await using opened = await openKeys()
    const { keys, owner, database } = opened
    const first = keys.current().kid
    await rotateSigningKey(database, [testSecret])
    const retired = 10 * minute + (900 + 30 + 60) * 1000
    await moveClock(owner.ownerSql, retired - 5000)
    await keys.reload()
    expect(keys.jwks().keys[0]?.kid).toBe(first)
    await moveClock(owner.ownerSql, retired + 5000)
    await keys.reload()
    expect(keys.jwks().keys.map(({ kid }) => kid)).toEqual([keys.current().kid])
    await expect(keys.keySource({ alg: 'ES256', kid: first }, {} as any)).rejects.toThrow(
      /no applicable key/,
    )
    // The next rotation removes it from the database as well.
    await rotateSigningKey(database, [testSecret])
    const rows = await owner.ownerSql`select kid from token_ledger.signing_key where kid = ${first}`
    expect(rows).toHaveLength(0)
  })

  test('JK-04 (RFC 9700 §2.6): keys rotate invalidates no access token: old ones verify while the new key signs', async () => {
    await using app = await startApp()
    const { accessToken, refreshToken } = await signIn(app)
    await cli(app.owner.url, ['keys', 'rotate'])
    await moveClock(app.owner.ownerSql, 11 * minute)
    await using later = await startServer(app.owner.url, { PUBLIC_URL: app.url })
    const { data } = await auth(later.url, 'refresh', { refreshToken })
    expect(decodeProtectedHeader(data.accessToken).kid).not.toBe(
      decodeProtectedHeader(accessToken).kid,
    )
    expect((await query(later.url, 'me', data.accessToken)).status).toBe(200)
    expect((await query(later.url, 'me', accessToken)).status).toBe(200)
  })

  test('keys rotate with a secret that does not open the existing keys changes nothing', async () => {
    await using opened = await openKeys()
    await expect(rotateSigningKey(opened.database, [otherSecret])).rejects.toThrow(/AUTH_SECRET/)
    expect(await opened.owner.ownerSql`select from token_ledger.signing_key`).toHaveLength(1)
  })

  test.each(['keys rotate', 'keys rotate --compromised'])(
    '%s with the wrong AUTH_SECRET exits 2, says what to do, and changes nothing',
    async (command) => {
      await using opened = await openKeys([otherSecret])
      const { ownerSql, url } = opened.owner
      const before = await ownerSql`select * from token_ledger.signing_key`
      const { code, stdout, stderr } = await cli(url, command.split(' '))
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
      expect(stderr).toMatch(/^AUTH_SECRET cannot decrypt the signing keys in this database; .+\n$/)
      expect(await ownerSql`select * from token_ledger.signing_key`).toEqual(before)
    },
  )

  test('keys rotate --compromised works while AUTH_SECRET is being changed', async () => {
    await using opened = await openKeys()
    const kid = await replaceSigningKeys(opened.database, [otherSecret, testSecret])
    const changed = await loadSigningKeys(opened.database, [otherSecret])
    expect(changed.jwks().keys.map((key) => key.kid)).toEqual([kid])
    changed.close()
  })

  test('keys rotate works while AUTH_SECRET is being changed', async () => {
    await using opened = await openKeys()
    const { database, keys } = opened
    await rotateSigningKey(database, [otherSecret, testSecret])
    const changed = await loadSigningKeys(database, [otherSecret, testSecret])
    expect(changed.current().kid).toBe(keys.current().kid)
    expect(changed.jwks().keys).toHaveLength(2)
    changed.close()
  })
})
