import type { Sql, TransactionSql } from 'postgres'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { plainlyOwned, type PlainlyOwned } from '../support/plain-owner.ts'
import {
  familyId,
  familyRow,
  insertEvents,
  issuedRow,
  replayedRow,
  revokedRow,
  rotatedRow,
  sqlStateOf,
  startAt,
  type HandwrittenEvent,
} from '../support/ledger-rows.ts'

const illegal = 'TL002'
const denied = '42501'
const later = (ms: number) => new Date(startAt + ms).toISOString()
const day = 24 * 3600 * 1000

/** A ledger whose owner is no superuser. */
let owned: PlainlyOwned
let superuser: Sql
let owner: Sql
beforeAll(async () => {
  owned = await plainlyOwned()
  superuser = owned.database.ownerSql
  owner = owned.login.sql
})
afterAll(() => owned[Symbol.asyncDispose]())

/** Runs `work` and rolls it back. */
async function undone<T>(sql: Sql, work: (tx: TransactionSql) => Promise<T>): Promise<T> {
  let result: { value: T } | undefined
  await sql
    .begin(async (tx) => {
      result = { value: await work(tx) }
      throw new Error('rolled back')
    })
    .catch((error: Error) => {
      if (error.message !== 'rolled back') throw error
    })
  return result!.value
}

async function begin(tx: TransactionSql, ...events: HandwrittenEvent[]): Promise<void> {
  await tx`insert into token_ledger.token_family ${tx(familyRow())}`
  await insertEvents(tx, issuedRow(), ...events)
}

const hidden = ['hash', 'prev_hash', 'origin_hash', 'txid'] as const
type Hashed = HandwrittenEvent & Record<(typeof hidden)[number], unknown>

/** The event with the hashes that it has to have, except for what `forged` says. */
async function hashed(
  tx: TransactionSql,
  event: HandwrittenEvent,
  forged: Partial<Hashed> = {},
): Promise<Hashed> {
  await tx`create temp table hashed (like token_ledger.token_event)`
  const placeholders = {
    hash: Buffer.alloc(32),
    prev_hash: Buffer.alloc(32),
    origin_hash: Buffer.alloc(32),
    txid: '3',
  }
  await tx`insert into hashed ${tx({ ...event, ...placeholders })}`
  await tx`
    update hashed h
    set origin_hash = token_ledger.origin_hash(h.origin_salt, h.ip, h.user_agent),
      (prev_hash, txid) = (
        select (array_agg(e.hash))[1], greatest(pg_current_xact_id(), (array_agg(e.txid))[1])
        from token_ledger.token_event e
        where e.family_id = h.family_id and e.seq = h.seq - 1
      )`
  if (Object.keys(forged).length > 0) await tx`update hashed set ${tx(forged)}`
  if (forged.hash === undefined)
    await tx`update hashed h set hash = token_ledger.event_hash(row(h.*)::token_ledger.token_event)`
  const [row] = await tx`select * from hashed`
  await tx`drop table hashed`
  return row as Hashed
}

/** The message of a statement that is refused with TL002. */
async function refusalOf(statement: PromiseLike<unknown>): Promise<string> {
  try {
    await statement
    return 'taken'
  } catch (error) {
    const { code, message } = error as Error & { code?: string }
    return code === illegal ? message : `${code} ${message}`
  }
}

describe('an insert past the function with a forged hash is refused', () => {
  const forgeries: [string, Partial<Hashed>][] = [
    ['a hash of other content', { hash: Buffer.alloc(32, 7) }],
    ['another event before it', { prev_hash: Buffer.alloc(32, 7) }],
    ['no event before it', { prev_hash: null }],
    ['a hash of another caller', { origin_hash: Buffer.alloc(32, 7) }],
    ['a hash of other content, and another transaction', { hash: Buffer.alloc(32, 7), txid: '3' }],
  ]
  const statements: [string, (tx: TransactionSql, event: Hashed) => Promise<unknown>][] = [
    ['into the table', (tx, e) => insertEvents(tx, e)],
    [
      'into the partition',
      async (tx, e) => {
        const [found] = await tx`
          select tableoid::regclass::text as name from token_ledger.token_event
          where family_id = ${familyId} limit 1`
        await tx`insert into ${tx(found!.name)} ${tx(e)}`
      },
    ],
    [
      'with the setting of the function',
      async (tx, e) => {
        await tx`set local token_ledger.appends = 'yes'`
        await insertEvents(tx, e)
      },
    ],
    [
      'that gives up the right to write hashes before it ends',
      (tx, e) => tx`
        insert into token_ledger.token_event ${tx(e)}
        returning set_config('role', 'token_ledger_app', true)`,
    ],
    [
      'through a view of the owner, by the service',
      async (tx, e) => {
        await tx`create temp view seen as select * from token_ledger.token_event`
        await tx`grant insert on seen to token_ledger_app`
        await tx`set local role token_ledger_app`
        await tx`insert into seen ${tx(e)}`
      },
    ],
    [
      'from a function of the owner, called by the service',
      async (tx, e) => {
        await tx`create temp table given (like token_ledger.token_event)`
        await tx`insert into given ${tx(e)}`
        await tx`
          create function pg_temp.write() returns void language sql security definer
          as 'insert into token_ledger.token_event select * from pg_temp.given'`
        await tx`set local role token_ledger_app`
        await tx`select pg_temp.write()`
      },
    ],
  ]

  describe.each(['the owner', 'a superuser'])('from %s', (who) => {
    const role = () => (who === 'the owner' ? owner : superuser)

    test.each(forgeries)('%s', async (_what, forged) => {
      for (const [how, insert] of statements) {
        const answer = await undone(role(), async (tx) => {
          await begin(tx, rotatedRow(1))
          return refusalOf(insert(tx, await hashed(tx, rotatedRow(2), forged)))
        })
        expect(`${how}: ${answer}`).toMatch(/: illegal history of family /)
      }
    })

    test('the right hash is taken, because the event then continues the chain', async () => {
      for (const [how, insert] of statements) {
        const answer = await undone(role(), async (tx) => {
          await begin(tx, rotatedRow(1))
          return refusalOf(insert(tx, await hashed(tx, rotatedRow(2))))
        })
        expect({ how, answer }).toEqual({ how, answer: 'taken' })
      }
    })
  })

  test.each(['3', '900000000000'])(
    'the transaction %s that an event names is replaced',
    async (txid) => {
      const written = await undone(superuser, async (tx) => {
        await begin(tx, rotatedRow(1))
        const event = await hashed(tx, rotatedRow(2), { txid })
        await insertEvents(tx, event)
        return tx`
        select txid = pg_current_xact_id() as is_own, hash = ${event.hash as Buffer} as has_hash
        from token_ledger.token_event order by seq desc limit 1`
      })
      expect([...written]).toEqual([{ is_own: true, has_hash: true }])
    },
  )

  test('from a superuser that takes on the role of a replica before the statement ends', async () => {
    const answer = await undone(superuser, async (tx) => {
      await begin(tx, rotatedRow(1))
      const event = await hashed(tx, rotatedRow(2), { hash: Buffer.alloc(32, 7) })
      return refusalOf(tx`
        insert into token_ledger.token_event ${tx(event)}
        returning set_config('session_replication_role', 'replica', true)`)
    })
    expect(answer).toMatch(/^illegal history of family /)
  })

  test('from a superuser as a replica, whose rows come in any order', async () => {
    const answer = await undone(superuser, async (tx) => {
      await begin(tx, rotatedRow(1))
      const event = await hashed(tx, rotatedRow(2), { hash: Buffer.alloc(32, 7) })
      await tx`set local session_replication_role = replica`
      return refusalOf(insertEvents(tx, event))
    })
    expect(answer).toMatch(/^event 3 of family /)
  })

  test('from the service, which may give no hash at all', async () => {
    const answer = await undone(superuser, async (tx) => {
      await begin(tx, rotatedRow(1))
      const event = await hashed(tx, rotatedRow(2))
      await tx`set local role token_ledger_app`
      return sqlStateOf(insertEvents(tx, event))
    })
    expect(answer).toBe(denied)
  })
})

const histories: [string, HandwrittenEvent[]][] = [
  ['a gap in seq', [rotatedRow(1, { seq: 3 })]],
  ['a second issued', [issuedRow({ seq: 2 })]],
  ['a generation left out', [rotatedRow(2, { seq: 2 })]],
  ['a fork', [rotatedRow(1), rotatedRow(1, { seq: 3 })]],
  [
    'a replay of another generation',
    [rotatedRow(1), replayedRow(3, { generation: 2, presented_generation: 1 })],
  ],
  ['a rotation after the end', [revokedRow(2), rotatedRow(1, { seq: 3 })]],
  ['an end that moves', [rotatedRow(1, { absolute_expires_at: later(60 * day) })]],
  [
    'an end that moves after a replay',
    [
      rotatedRow(1),
      replayedRow(3),
      rotatedRow(2, { seq: 4, absolute_expires_at: later(60 * day) }),
    ],
  ],
  ['an event before the last one', [rotatedRow(1, { occurred_at: later(-1) })]],
  ['a rotation of an expired token', [rotatedRow(1, { occurred_at: later(7 * day) })]],
  [
    'a rotation of an expired token after a replay',
    [rotatedRow(1), replayedRow(3), rotatedRow(2, { seq: 4, occurred_at: later(7 * day) })],
  ],
  ['the 21st replay', [rotatedRow(1), ...Array.from({ length: 21 }, (_, i) => replayedRow(i + 3))]],
  ['an address without its salt', [rotatedRow(1, { origin_salt: null })]],
  ['a network for an address', [rotatedRow(1, { ip: '192.0.2.0/24' })]],
  ['a token that expires as it is made', [rotatedRow(1, { expires_at: later(0) })]],
  ['an instant before 1970', [revokedRow(2, { occurred_at: '1969-12-31T00:00:00Z' })]],
]
const legal: [string, HandwrittenEvent[]][] = [
  ['a rotation', [rotatedRow(1)]],
  ['a rotation with an attempt', [rotatedRow(1, { attempt_hash: Buffer.alloc(32, 3) })]],
  ['a rotation without a caller', [rotatedRow(1, { ip: null, user_agent: null })]],
  ['a replay', [rotatedRow(1), replayedRow(3)]],
  ['a replay after a replay', [rotatedRow(1), replayedRow(3), replayedRow(4)]],
  ['a rotation after a replay', [rotatedRow(1), replayedRow(3), rotatedRow(2, { seq: 4 })]],
]

/** Appends through the function, as a batch of one. */
function append(tx: TransactionSql, event: HandwrittenEvent): Promise<unknown> {
  const bytes = (value: unknown) => (Buffer.isBuffer(value) ? `\\x${value.toString('hex')}` : value)
  const columns = Object.entries(event).map(([name, value]) => [name, bytes(value)])
  const events = JSON.stringify([Object.fromEntries(columns)])
  return tx`
    select token_ledger.append_unless_changed(${[event.family_id]}::uuid[], ${events}::text::json)`
}

describe('a row with its hash is judged as one without', () => {
  test.each(histories)('%s is refused with the same words', async (_what, events) => {
    const before = events.slice(0, -1)
    const event = events.at(-1)!
    const [without, withHash, inBatch] = await undone(superuser, async (tx) => {
      await begin(tx, ...before)
      const own = await hashed(tx, event)
      return [
        await refusalOf(tx.savepoint((inner) => insertEvents(inner, event))),
        await refusalOf(tx.savepoint((inner) => insertEvents(inner, own))),
        // A gap is what another process has changed, and an end does not come through this function.
        /gap|issued|1970/.test(_what)
          ? null
          : await refusalOf(tx.savepoint((inner) => append(inner, event))),
      ]
    })
    expect(without).toMatch(/^illegal history of family /)
    expect(withHash).toBe(without)
    expect([without, null]).toContain(inBatch)
  })

  test.each(legal)('%s gets the same hash from the function', async (_what, events) => {
    const before = events.slice(0, -1)
    const event = events.at(-1)!
    const written = await undone(superuser, async (tx) => {
      await begin(tx, ...before)
      const rows: unknown[] = []
      for (const write of [insertEvents, append])
        await tx
          .savepoint(async (inner) => {
            await write(inner, event)
            rows.push(
              (await inner`select * from token_ledger.token_event order by seq desc limit 1`)[0],
            )
            throw new Error('again')
          })
          .catch((error: Error) => expect(error.message).toBe('again'))
      return rows as Hashed[]
    })
    // Subtransactions have ids of their own; the one of the transaction is the event's.
    expect(written[0]).toMatchObject({ seq: events.length + 1 })
    expect(written[1]).toEqual(written[0])
  })

  test('several events of one family in one statement are judged one after the other', async () => {
    const answers = await undone(superuser, async (tx) => {
      await begin(tx)
      const first = await hashed(tx, rotatedRow(1))
      const second = await hashed(tx, rotatedRow(2), { prev_hash: first.hash, txid: first.txid })
      const both = (rows: Hashed[]) =>
        refusalOf(
          tx.savepoint(async (inner) => {
            await inner`insert into token_ledger.token_event ${inner(rows)}`
            throw Object.assign(new Error('legal'), { code: illegal })
          }),
        )
      return [
        await both([first, second]),
        await both([second, first]),
        await both([first, { ...second, prev_hash: Buffer.alloc(32) }]),
      ]
    })
    expect(answers[0]).toBe('legal')
    expect(answers[1]).toBe('legal')
    expect(answers[2]).toMatch(/does not continue the chain/)
  })

  test('nothing of all this is left', async () => {
    expect(await superuser`select from token_ledger.token_event`).toHaveLength(0)
  })
})
