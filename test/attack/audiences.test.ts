import { beforeAll, describe, expect, test } from 'vitest'
import { createVerifier } from '../../server/verifier/index.ts'
import { adminEmail, attackedServer } from '../support/attacked-server.ts'
import { claimsOf } from '../support/forge.ts'
import { mutate, query } from '../support/http.ts'
import { callAs, procedures } from '../support/procedures.ts'
import { signIn, type BodySession } from '../support/sessions.ts'

const orders = 'https://orders.example.com'
const stock = 'stock'
const world = attackedServer({ ACCESS_TOKEN_AUDIENCES: `${orders}, ${stock}` })
let admin: BodySession
/** What the admin's browser sends to the service "orders". */
let sentToOrders: string

beforeAll(async () => {
  admin = await signIn(world, adminEmail)
  const { data } = await query(world.url, 'tokens.exchange', admin.accessToken, {
    audience: orders,
  })
  sentToOrders = data.accessToken
})

const bearerCalls = procedures.filter(({ url }) => url.startsWith('/trpc/'))

describe('AT-17 (RFC 9700 §2.3, RFC 9068 §5): the token that another service gets', () => {
  test('control: that service accepts it, with the session and the role of the admin', async () => {
    const claims = await verifierOf(orders).verify(sentToOrders)
    expect(claims).toMatchObject({
      userId: admin.userId,
      familyId: admin.familyId,
      role: 'admin',
      email: adminEmail,
    })
  })

  test.each(bearerCalls)('opens nothing here: $url', async (procedure) => {
    await world.unchanged(async () => {
      const { status, reason } = await callAs(world, procedure, { token: sentToOrders })
      // A refused stream has already begun to answer.
      const refused = procedure.type === 'subscription' ? 200 : 401
      expect([status, reason]).toEqual([refused, 'access_token_invalid'])
    })
  })

  test('makes no admin here', async () => {
    const email = 'by-orders@example.com'
    const made = await mutate(world.url, 'admin.users.create', sentToOrders, {
      email,
      role: 'admin',
    })
    expect([made.status, made.reason]).toEqual([401, 'access_token_invalid'])
    expect(await world.sql`select 1 from token_ledger.user_account where email = ${email}`).toEqual(
      [],
    )
  })

  test('is refused by a third service, and becomes no token for it', async () => {
    const refused = { reason: 'access_token_invalid' }
    await expect(verifierOf(stock).verify(sentToOrders)).rejects.toMatchObject(refused)
    for (const audience of [stock, orders, world.url]) {
      const answer = await query(world.url, 'tokens.exchange', sentToOrders, { audience })
      expect([answer.status, answer.reason]).toEqual([401, 'access_token_invalid'])
    }
  })

  test('lives no longer than the token that it was asked with, and no chain of exchanges changes that', async () => {
    const own = claimsOf(admin.accessToken)
    const others = [claimsOf(sentToOrders)]
    for (let times = 0; times < 3; times += 1) {
      const { data } = await query(world.url, 'tokens.exchange', admin.accessToken, {
        audience: stock,
      })
      others.push(claimsOf(data.accessToken))
    }
    for (const { exp } of others) expect(exp).toBe(own.exp)
  })

  test('ends with the session: an ended session exchanges nothing', async () => {
    const session = await signIn(world)
    await mutate(world.url, 'sessions.revoke', session.accessToken, { familyId: session.familyId })
    const answer = await query(world.url, 'tokens.exchange', session.accessToken, {
      audience: orders,
    })
    expect([answer.status, answer.reason]).toEqual([401, 'access_token_revoked'])
  })

  test('is for a listed service: any other audience is refused, this service and near misses as well', async () => {
    const near = [world.url, '', 'ORDERS', `${orders}/`, ` ${orders}`, `${orders},${stock}`]
    await world.unchanged(async () => {
      for (const audience of [...near, 'https://evil.example', 'toString', 'x'.repeat(255)]) {
        const answer = await query(world.url, 'tokens.exchange', admin.accessToken, { audience })
        expect([audience, answer.status, answer.reason]).toEqual([
          audience,
          400,
          'validation_failed',
        ])
      }
    })
  })
})

function verifierOf(audience: string) {
  return createVerifier({ issuer: world.url, audience })
}
