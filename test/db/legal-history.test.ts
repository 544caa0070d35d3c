import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connect, type Database } from '../../db/connection/connect.ts'
import { freshDatabase, type FreshDatabase } from '../support/database.ts'
import {
  familyRow,
  insertEvents,
  issuedRow,
  proof,
  reauthenticatedRow,
  replayedRow,
  reuseRow,
  revokedRow,
  rotatedRow,
  sqlStateOf,
  startAt,
  type HandwrittenEvent,
} from '../support/ledger-rows.ts'

const illegal = 'TL002'
const badShape = '23514'
const later = (ms: number) => new Date(startAt + ms).toISOString()

let owner: FreshDatabase
let app: Database
beforeAll(async () => {
  owner = await freshDatabase()
  app = connect(owner.url, { role: 'token_ledger_app', maxConnections: 2 })
})
afterAll(async () => {
  await app.close()
  await owner[Symbol.asyncDispose]()
})

/** How the database answers the last of these events, written as the role of the service and rolled back. */
async function answerTo(...events: readonly HandwrittenEvent[]): Promise<string> {
  let answer = ''
  await app.transactions
    .begin(async (tx) => {
      await tx`insert into token_ledger.token_family ${tx(familyRow())}`
      await insertEvents(tx, ...events.slice(0, -1))
      answer = await sqlStateOf(insertEvents(tx, events.at(-1)!))
      throw new Error('rolled back')
    })
    .catch((error: Error) => {
      if (error.message !== 'rolled back' && answer === '') throw error
    })
  return answer
}

describe('the database accepts a legal history', () => {
  test.each<[string, HandwrittenEvent[]]>([
    ['a sign-in and rotations', [issuedRow(), rotatedRow(1), rotatedRow(2)]],
    [
      'a replay, and a rotation after it',
      [issuedRow(), rotatedRow(1), replayedRow(3), rotatedRow(2, { seq: 4 })],
    ],
    [
      'a replay of an older token, by the attempts of its client',
      [
        issuedRow(),
        rotatedRow(1),
        rotatedRow(2),
        replayedRow(4, { generation: 2, presented_generation: 0, reason: 'same_attempt' }),
      ],
    ],
    ['a reuse', [issuedRow(), rotatedRow(1), reuseRow(3)]],
    ['a revocation', [issuedRow(), revokedRow(2)]],
    [
      'a reauthentication, a replay of it, and a rotation after it',
      [
        issuedRow(proof),
        reauthenticatedRow(1, { methods: ['pwd', 'urn:example:key'] }),
        replayedRow(3, { reason: 'same_attempt' }),
        rotatedRow(2, { seq: 4 }),
        reauthenticatedRow(3, { seq: 5 }),
      ],
    ],
    [
      'rotations with the authentication of the token before, also after a replay',
      [issuedRow(proof), rotatedRow(1, proof), replayedRow(3), rotatedRow(2, { seq: 4, ...proof })],
    ],
    [
      'a rotation without an authentication, as older processes write it',
      [issuedRow(proof), rotatedRow(1), rotatedRow(2)],
    ],
    [
      'an event at the same instant, or later',
      [issuedRow(), rotatedRow(1, { occurred_at: later(1) })],
    ],
  ])('%s is accepted', async (_what, events) => {
    expect(await answerTo(...events)).toBe('ok')
  })
})

describe('the database itself refuses an illegal history', () => {
  const year = 365 * 24 * 3600 * 1000
  test.each<[string, HandwrittenEvent[]]>([
    ['a family that begins with seq 2', [issuedRow({ seq: 2 })]],
    ['a family that begins with a rotation', [rotatedRow(1, { seq: 1 })]],
    ['a family that begins with its end', [revokedRow(1, { generation: 0 })]],
    ['a gap in seq', [issuedRow(), rotatedRow(1, { seq: 3 })]],
    ['the same seq again', [issuedRow(), rotatedRow(1), rotatedRow(2, { seq: 2 })]],
    ['a seq from before', [issuedRow(), rotatedRow(1), rotatedRow(2, { seq: 1 })]],
    ['a second issued', [issuedRow(), issuedRow({ seq: 2 })]],
    ['a generation left out', [issuedRow(), rotatedRow(2, { seq: 2 })]],
    ['a fork: the same generation twice', [issuedRow(), rotatedRow(1), rotatedRow(1, { seq: 3 })]],
    [
      'a replay that changes the generation',
      [issuedRow(), rotatedRow(1), replayedRow(3, { generation: 2, presented_generation: 1 })],
    ],
    ['a revocation that changes the generation', [issuedRow(), revokedRow(2, { generation: 1 })]],
    ['a rotation after a revocation', [issuedRow(), revokedRow(2), rotatedRow(1, { seq: 3 })]],
    [
      'a rotation after a reuse',
      [issuedRow(), rotatedRow(1), reuseRow(3), rotatedRow(2, { seq: 4 })],
    ],
    ['a second end', [issuedRow(), revokedRow(2), revokedRow(3, { generation: 0 })]],
    ['an end that moves away', [issuedRow(), rotatedRow(1, { absolute_expires_at: later(year) })]],
    [
      'an end that moves away after a replay',
      [
        issuedRow(),
        rotatedRow(1),
        replayedRow(3),
        rotatedRow(2, { seq: 4, absolute_expires_at: later(year) }),
      ],
    ],
    [
      'an end that moves away with a reauthentication',
      [issuedRow(), reauthenticatedRow(1, { absolute_expires_at: later(year) })],
    ],
    ['a reauthentication that leaves a generation out', [issuedRow(), reauthenticatedRow(2)]],
    [
      'a reauthentication that keeps the generation',
      [issuedRow(), reauthenticatedRow(0, { seq: 2, generation: 0 })],
    ],
    [
      'a reauthentication after a revocation',
      [issuedRow(), revokedRow(2), reauthenticatedRow(1, { seq: 3 })],
    ],
    [
      'a replay in the grace window after a reauthentication, which leaves none',
      [issuedRow(proof), reauthenticatedRow(1), replayedRow(3)],
    ],
    [
      'a second replay in the grace window after a reauthentication',
      [
        issuedRow(proof),
        reauthenticatedRow(1),
        replayedRow(3, { reason: 'same_attempt' }),
        replayedRow(4),
      ],
    ],
    [
      'a rotation with other methods than the token before',
      [issuedRow(proof), rotatedRow(1, { ...proof, methods: ['pwd', 'otp'] })],
    ],
    [
      'a rotation with another instant than the token before',
      [issuedRow(proof), rotatedRow(1, { ...proof, authenticated_at: later(-1) })],
    ],
    [
      'a rotation with other methods than the token before a replay',
      [
        issuedRow(proof),
        rotatedRow(1, proof),
        replayedRow(3),
        rotatedRow(2, { seq: 4, ...proof, methods: ['otp'] }),
      ],
    ],
    ['a rotation with methods that no token before has', [issuedRow(), rotatedRow(1, proof)]],
    ['an event before the last one', [issuedRow(), rotatedRow(1, { occurred_at: later(-1) })]],
    ['an end before the last one', [issuedRow(), revokedRow(2, { occurred_at: later(-1) })]],
  ])('%s is illegal', async (_what, events) => {
    expect(await answerTo(...events)).toBe(illegal)
  })

  test('an illegal history is refused from the owner, as a replica, and straight into a partition as well', async () => {
    const { ownerSql } = owner
    const answer = ownerSql.begin(async (tx) => {
      await tx`set local session_replication_role = replica`
      await insertEvents(tx, issuedRow({ seq: 2 }))
    })
    expect(await sqlStateOf(answer)).toBe(illegal)
    const event = issuedRow({ seq: 2, family_id: '00000000-0000-7000-8000-000000000001' })
    const direct = ownerSql`insert into token_ledger.token_event_default ${ownerSql(event)}`
    expect(await sqlStateOf(direct)).toBe(illegal)
  })
})

describe('the database itself refuses an authentication that is malformed or in another event', () => {
  const authenticated = proof.authenticated_at
  test.each<[string, HandwrittenEvent[]]>([
    ['methods without their instant', [issuedRow({ methods: ['pwd'] })]],
    ['an instant without methods', [issuedRow({ authenticated_at: authenticated })]],
    ['a reauthentication without methods', [issuedRow(), reauthenticatedRow(1, { methods: null })]],
    [
      'a rotation with an instant alone',
      [issuedRow(proof), rotatedRow(1, { authenticated_at: authenticated })],
    ],
    ['a replay with methods', [issuedRow(), rotatedRow(1), replayedRow(3, proof)]],
    ['a reuse with methods', [issuedRow(), rotatedRow(1), reuseRow(3, proof)]],
    ['a revocation with methods', [issuedRow(), revokedRow(2, proof)]],
    ['an instant after the event', [issuedRow({ ...proof, authenticated_at: later(1) })]],
    [
      'an instant of microseconds',
      [issuedRow({ ...proof, authenticated_at: '2029-12-31T23:59:59.999999Z' })],
    ],
    ['an infinite instant', [issuedRow({ ...proof, authenticated_at: '-infinity' })]],
    ...(
      [
        ['no method', []],
        ['an empty method', ['pwd', '']],
        ['a method with a space', ['pwd otp']],
        ['a method of 51 characters', ['x'.repeat(51)]],
        ['a method that is not ASCII', ['pässwörd']],
        ['eleven methods', Array.from({ length: 11 }, (_, i) => `m${i}`)],
      ] as const
    ).map(([what, methods]): [string, HandwrittenEvent[]] => [
      what,
      [issuedRow({ ...proof, methods })],
    ]),
  ])('%s is refused', async (_what, events) => {
    expect(await answerTo(...events)).toBe(badShape)
  })
})

const replays = (count: number) => [
  issuedRow(),
  rotatedRow(1),
  ...Array.from({ length: count }, (_, i) => replayedRow(i + 3)),
]
const day = 24 * 3600 * 1000

describe('LE-17 (ASVS 16.4.2): what verification would call broken is refused', () => {
  test.each<[string, HandwrittenEvent[]]>([
    [
      'a rotation as the token expires',
      [issuedRow(), rotatedRow(1, { occurred_at: later(7 * day), expires_at: later(8 * day) })],
    ],
    [
      'a revocation after the token had expired',
      [issuedRow(), revokedRow(2, { occurred_at: later(8 * day) })],
    ],
    [
      'a rotation after the token had expired, after a replay',
      [
        ...replays(1),
        rotatedRow(2, { seq: 4, occurred_at: later(8 * day), expires_at: later(9 * day) }),
      ],
    ],
    ['the 21st replay of one generation', replays(21)],
    [
      'a family of another user than its row',
      [issuedRow({ user_id: '0190b5d2-0000-4000-8000-00000000000f' })],
    ],
    ['a family of another transport than its row', [issuedRow({ transport: 'body' })]],
    ['a family that begins at another time than its row', [issuedRow({ occurred_at: later(1) })]],
    [
      'a family that ends at another time than its row',
      [issuedRow({ absolute_expires_at: later(31 * day) })],
    ],
    ['a family without a row', [issuedRow({ family_id: '01943f5d-7800-7000-8000-000000000002' })]],
    ['an address without its salt', [issuedRow({ origin_salt: null, user_agent: null })]],
    ['a user agent without its salt', [issuedRow({ origin_salt: null, ip: null })]],
    ['a network for an address', [issuedRow({ ip: '192.0.2.0/24' })]],
    ['a network for an IPv6 address', [issuedRow({ ip: '2001:db8::/64' })]],
    ['a token that expires as it is made', [issuedRow(), rotatedRow(1, { expires_at: later(0) })]],
    ['an infinite instant', [issuedRow(), revokedRow(2, { occurred_at: 'infinity' })]],
    ['an instant before all time', [issuedRow({ occurred_at: '-infinity' })]],
  ])('%s', async (_what, events) => {
    expect(await answerTo(...events)).toBe(illegal)
  })

  test('an erased caller, an address of each kind and twenty replays are taken', async () => {
    expect(await answerTo(...replays(20))).toBe('ok')
    expect(await answerTo(...replays(20), rotatedRow(2, { seq: 23 }))).toBe('ok')
    const erased = { ip: null, user_agent: null, origin_salt: null }
    expect(await answerTo(issuedRow(erased))).toBe('ok')
    expect(await answerTo(issuedRow({ ip: '2001:db8::1' }))).toBe('ok')
    expect(await answerTo(issuedRow(), rotatedRow(1, { occurred_at: later(7 * day - 1) }))).toBe(
      'ok',
    )
  })

  test('a family that never ends, on which verification would fail', async () => {
    const never = { absolute_expires_at: 'infinity' }
    const written = app.transactions.begin(async (tx) => {
      await tx`insert into token_ledger.token_family ${tx(familyRow(never))}`
      await insertEvents(tx, issuedRow(never))
    })
    expect(await sqlStateOf(written)).toBe(illegal)
  })

  test('a family without its first event, when its transaction ends', async () => {
    const { transactions: sql } = app
    const alone = sql`insert into token_ledger.token_family ${sql(familyRow())}`
    expect(await sqlStateOf(alone)).toBe(illegal)
    const deferred = sql.begin(async (tx) => {
      await tx`set constraints all deferred`
      await tx`insert into token_ledger.token_family ${tx(familyRow())}`
    })
    expect(await sqlStateOf(deferred)).toBe(illegal)
    const elsewhere = familyRow({ family_id: '00000000-0000-7000-8000-000000000001' })
    expect(await sqlStateOf(sql`insert into token_ledger.token_family ${sql(elsewhere)}`)).toBe(
      illegal,
    )
    const replica = owner.ownerSql.begin(async (tx) => {
      await tx`set local session_replication_role = replica`
      await tx`set local role token_ledger_app`
      await tx`insert into token_ledger.token_family ${tx(familyRow())}`
    })
    expect(await sqlStateOf(replica)).toBe(illegal)
  })

  test('nothing of all this is left, and the ledger verifies', async () => {
    expect(await owner.ownerSql`select * from token_audit.verify_ledger()`).toEqual([])
  })
})

const rotation = (changes: object) => [issuedRow(), rotatedRow(1, { ...changes })]

describe('the database refuses a malformed event', () => {
  test.each<[string, HandwrittenEvent[]]>([
    ['of an unknown kind', [issuedRow(), revokedRow(2, { kind: 'forked' })]],
    ['issued without a user', [issuedRow({ user_id: null })]],
    ['issued at generation 1', [issuedRow({ generation: 1 })]],
    ['issued without an expiry', [issuedRow({ expires_at: null })]],
    ['issued with a salt', [issuedRow({ salt: Buffer.alloc(16) })]],
    ['issued with a reason', [issuedRow({ reason: 'logout' })]],
    ['a rotation without a token', rotation({ token_hash: null })],
    ['a rotation without a salt', rotation({ salt: null })],
    [
      'a rotation that expires after the family',
      rotation({ expires_at: later(31 * 24 * 3600 * 1000) }),
    ],
    ['a hash of 31 bytes', rotation({ token_hash: Buffer.alloc(31) })],
    ['a salt of 17 bytes', rotation({ salt: Buffer.alloc(17) })],
    ['an attempt of 16 bytes', rotation({ attempt_hash: Buffer.alloc(16) })],
    ['an origin salt of 15 bytes', rotation({ origin_salt: Buffer.alloc(15) })],
    ['a user agent of 513 characters', rotation({ user_agent: 'u'.repeat(513) })],
    ['half a millisecond', rotation({ occurred_at: '2030-01-01T00:00:00.0005Z' })],
    [
      'a replay of the current token',
      [issuedRow(), rotatedRow(1), replayedRow(3, { presented_generation: 1 })],
    ],
    [
      'a replay of an older token in the grace window',
      [
        issuedRow(),
        rotatedRow(1),
        rotatedRow(2),
        replayedRow(4, { generation: 2, presented_generation: 0, reason: 'grace_window' }),
      ],
    ],
    [
      'a replay of a token before the first',
      [
        issuedRow(),
        rotatedRow(1),
        replayedRow(3, { presented_generation: -1, reason: 'same_attempt' }),
      ],
    ],
    [
      'a replay for no known reason',
      [issuedRow(), rotatedRow(1), replayedRow(3, { reason: 'kindness' })],
    ],
    [
      'a replay that makes a token',
      [issuedRow(), rotatedRow(1), replayedRow(3, { token_hash: Buffer.alloc(32) })],
    ],
    [
      'a reuse of the current token',
      [issuedRow(), rotatedRow(1), reuseRow(3, { presented_generation: 1 })],
    ],
    [
      'a reuse of generation -1',
      [issuedRow(), rotatedRow(1), reuseRow(3, { presented_generation: -1 })],
    ],
    ['a revocation for no known reason', [issuedRow(), revokedRow(2, { reason: 'mood' })]],
    ['a replay without a reason', [issuedRow(), rotatedRow(1), replayedRow(3, { reason: null })]],
    [
      'a replay of nothing',
      [issuedRow(), rotatedRow(1), replayedRow(3, { presented_generation: null })],
    ],
    [
      'a reuse of nothing',
      [issuedRow(), rotatedRow(1), reuseRow(3, { presented_generation: null })],
    ],
    ['a revocation without a reason', [issuedRow(), revokedRow(2, { reason: null })]],
  ])('%s is malformed', async (_what, events) => {
    expect(await answerTo(...events)).toBe(badShape)
  })

  test.each([
    ['an unknown transport', { transport: 'header' }],
    ['a device name of 101', { device_name: 'd'.repeat(101) }],
    ['an end before its beginning', { absolute_expires_at: later(-1) }],
  ])('the database refuses a family with %s', async (_what, changes) => {
    const { transactions: sql } = app
    const written = sql`insert into token_ledger.token_family ${sql(familyRow(changes))}`
    expect(await sqlStateOf(written)).toBe(badShape)
  })
})
