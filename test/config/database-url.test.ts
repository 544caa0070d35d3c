import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { expect, inject, test } from 'vitest'
import { withDatabaseErrors, migrateWithErrors } from '../../server/config/database-url.ts'
import { asAdmin, databaseUrl, dropDatabase, dropLogin } from '../support/admin.ts'
import { freePort } from '../support/server.ts'
import { cli } from '../support/cli.ts'
import { withoutWaits } from '../support/run.ts'

const oneLogin = (url: string) => ({ owner: url, service: url })

/** An empty database whose owner may not create roles. */
async function ownerWithoutCreateRole() {
  const { adminUrl, template } = inject('testDatabases')
  const name = template.replace(/template$/, `humble_${randomUUID().slice(0, 8)}`)
  await asAdmin(adminUrl, async (admin) => {
    await admin.unsafe(`create role "${name}" login password '${name}'`)
    await admin`create database ${admin(name)} owner ${admin(name)}`
  })
  const url = databaseUrl(adminUrl, name)
  return {
    url: url.replace(/\/\/[^@]*@/, `//${name}:${name}@`),
    asSuperuser: url,
    async [Symbol.asyncDispose]() {
      await asAdmin(adminUrl, (admin) => dropDatabase(admin, name))
      await dropLogin(adminUrl, name)
    },
  }
}

/** A server that refuses every connection with an error of Postgres. */
async function refusing(code: string) {
  const fields = Buffer.from(`SFATAL\0C${code}\0Mno\0\0`)
  const head = Buffer.from('E\0\0\0\0')
  head.writeInt32BE(fields.length + 4, 1)
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => socket.end(Buffer.concat([head, fields])))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : 0
  return {
    url: `postgres://boss:hunter2@127.0.0.1:${port}/nothing`,
    [Symbol.dispose]: () => void server.close(),
  }
}

test('a database owner without CREATEROLE gets one line that says so and holds no SQL', async () => {
  await using owner = await ownerWithoutCreateRole()
  // Roles belong to the whole server, which already has those of the service: granting one is refused as creating one is.
  const refused = migrateWithErrors(oneLogin(owner.url))
  await expect(refused).rejects.toThrow(/^cannot use the database [^\n]+ CREATEROLE[^\n]+$/)
  await expect(refused).rejects.not.toThrow(/select|language|execute/i)
  const { code, stderr } = await cli(owner.url, ['migrate'])
  expect(code).toBe(2)
  expect(withoutWaits(stderr)).toMatch(/^cannot use the database [^\n]+ CREATEROLE[^\n]+\n$/)
})

test('a migration that fails is reported in the words of Postgres, without its SQL', async () => {
  await using owner = await ownerWithoutCreateRole()
  await asAdmin(owner.asSuperuser, (admin) => admin`create schema token_ledger`)
  const failed = migrateWithErrors(oneLogin(owner.asSuperuser))
  await expect(failed).rejects.toThrow(/^schema "token_ledger" already exists$/)
})

test.each([
  ['28P01', 'password authentication failed (28P01)'],
  ['28000', 'this user is not allowed to connect (28000)'],
  ['3D000', 'the database does not exist (3D000)'],
])('a database that refuses with %s: %s', async (code, said) => {
  using server = await refusing(code)
  const where = /^cannot use the database nothing at 127\.0\.0\.1:\d+: /
  await expect(migrateWithErrors(oneLogin(server.url))).rejects.toThrow(where)
  await expect(migrateWithErrors(oneLogin(server.url))).rejects.toThrow(said)
})

test('a database that is down is reported as: nothing listens there', async () => {
  const url = `postgres://boss:hunter2@127.0.0.1:${await freePort()}/nothing`
  await expect(migrateWithErrors(oneLogin(url))).rejects.toThrow(
    'no server listens there (ECONNREFUSED)',
  )
})

test('an error that is not about the database is thrown unchanged', async () => {
  const bug = new Error('a bug')
  await expect(withDatabaseErrors('postgres://db/x', () => Promise.reject(bug))).rejects.toBe(bug)
})
