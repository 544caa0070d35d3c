import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { connect } from '../../db/connection/connect.ts'
import { isUnavailable } from '../../db/connection/errors.ts'

type State = { readonly missing?: string; readonly isStandby?: boolean }

test.each([
  [{ missing: 'role, jit' }, 'CONNECT_SETTINGS', 'did not take role, jit'],
  [{ isStandby: true }, '25006', 'standby'],
])('a connection whose state is %o is not used', async (state: State, code, words) => {
  await using server = await startPostgres(state)
  const database = connect(server.url, { role: 'token_ledger_app', needsPrimary: true })
  try {
    const failed = await database.transactions`select secret`.catch((error: unknown) => error)
    expect(failed).toMatchObject({ code, message: expect.stringContaining(words) })
    expect(isUnavailable(failed)).toBe(true)
    expect(server.statements.join()).not.toContain('secret')
  } finally {
    await database.close()
  }
})

test('a connection that has its role and its settings is used, also when they arrive byte by byte', async () => {
  await using server = await startPostgres({}, { byteByByte: true })
  const database = connect(server.url, { role: 'token_ledger_app', needsPrimary: true })
  try {
    await database.transactions`select secret`.simple()
    expect(server.statements.filter((text) => text.includes('secret'))).toHaveLength(1)
    expect(server.statements[0]).toContain("('role', 'token_ledger_app')")
  } finally {
    await database.close()
  }
})

/** Answers as Postgres does: lets every login in, and says what the state of its connections is. */
async function startPostgres(
  { missing, isStandby = false }: State,
  { byteByByte = false } = {},
): Promise<AsyncDisposable & { readonly url: string; readonly statements: readonly string[] }> {
  const statements: string[] = []
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    const send = (...messages: Buffer[]) => {
      const all = Buffer.concat(messages)
      if (!byteByByte) return void socket.write(all)
      for (const byte of all) socket.write(Buffer.of(byte))
    }
    socket.on('error', () => {})
    socket.once('data', () => {
      send(message('R', Buffer.alloc(4)), ready)
      socket.on('data', (data) => {
        if (data[0] !== 'Q'.charCodeAt(0)) return
        statements.push(data.toString('utf8', 5))
        const row = [missing ?? null, isStandby ? 't' : 'f', 'f']
        send(
          rowDescription,
          message('D', fields(row)),
          message('C', Buffer.from('SELECT 1\0')),
          ready,
        )
      })
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  return {
    url: `postgres://someone@127.0.0.1:${port}/ledger`,
    statements,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

function message(type: string, body: Buffer): Buffer {
  const head = Buffer.from(`${type}\0\0\0\0`)
  head.writeUInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

const ready = message('Z', Buffer.from('I'))
/** Of no columns: the service reads rows by their order. */
const rowDescription = message('T', Buffer.alloc(2))

function fields(values: readonly (string | null)[]): Buffer {
  const parts = values.map((value) => {
    const length = Buffer.alloc(4)
    length.writeInt32BE(value === null ? -1 : value.length)
    return Buffer.concat([length, Buffer.from(value ?? '')])
  })
  const count = Buffer.alloc(2)
  count.writeUInt16BE(values.length)
  return Buffer.concat([count, ...parts])
}
