import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { checkFamily } from '../../server/ledger/chain.ts'
import { verifyExport } from '../../server/audit/verify-export.ts'
import { endSession } from '../../server/sessions/revocation.ts'
import { moveClock } from '../support/clock.ts'
import { exportLines, startLedger, tamper, testCaller, type TestLedger } from '../support/ledger.ts'

let ledger: TestLedger
let familyId: string
let otherFamilyId: string

/** The first family: issued, rotated, replayed, rotated, reuse_detected. The second: issued, rotated, revoked by an admin. */
beforeAll(async () => {
  ledger = await startLedger()
  const user = await ledger.makeUser()
  const other = await ledger.makeUser()
  const first = await ledger.start(user)
  const attempt = '7f1c1f0e-6a53-4b0a-9d3a-0d2f35f9d6aa'
  const second = await ledger.refresh(first, attempt)
  await ledger.refresh(first, attempt)
  await ledger.refresh(second)
  await moveClock(ledger.owner.ownerSql, 60_000)
  await ledger.refresh(first).catch(() => {})
  familyId = first.familyId
  const theirs = await ledger.start(other, { transport: 'cookie' })
  await ledger.refresh(theirs)
  otherFamilyId = theirs.familyId
  const by = { reason: 'admin_revoked', actorUserId: user.id, caller: testCaller } as const
  await endSession(ledger.deps, { familyId: otherFamilyId }, by)
})

afterAll(() => ledger[Symbol.asyncDispose]())

async function verdicts() {
  const { ownerSql } = ledger.owner
  const broken = await ownerSql`select * from token_audit.verify_ledger()`
  const report = await verifyExport(await exportLines(ledger.database))
  const inSql = broken.map((b) => [b.family_id, b.first_broken_seq, b.problem])
  const inTypeScript = report.problems.map((p) => [p.familyId, p.seq, p.problem])
  return { inSql, inTypeScript }
}

/** Tampers with a copy of the two tables, verifies, and restores everything. */
async function after(template: string) {
  const statement = template.replaceAll('%FAMILY%', familyId)
  const { ownerSql } = ledger.owner
  await ownerSql`create table public.kept_event as select * from token_ledger.token_event`
  await ownerSql`create table public.kept_family as select * from token_ledger.token_family`
  try {
    await tamper(ledger.owner, statement)
    return await verdicts()
  } finally {
    await tamper(
      ledger.owner,
      `delete from token_ledger.token_event; delete from token_ledger.token_family;
       insert into token_ledger.token_event select * from public.kept_event;
       insert into token_ledger.token_family select * from public.kept_family;
       drop table public.kept_event; drop table public.kept_family`,
    )
  }
}

const event = (seq: number, of = '%FAMILY%') => `where family_id = '${of}' and seq = ${seq}`

test('an untouched ledger verifies in SQL and in TypeScript', async () => {
  expect(await verdicts()).toEqual({ inSql: [], inTypeScript: [] })
  const [verdict] = await ledger.owner
    .ownerSql`select * from token_audit.verify_family(${familyId})`
  expect(verdict).toEqual({ intact: true, events: 5, first_broken_seq: null, problem: null })
})

describe('LE-05 (ASVS 16.4.2): a changed column is reported with its family and its event', () => {
  const content = 'the hash does not match the content'
  const cases: [column: string, set: string, seq: number, problem: string][] = [
    ['kind', `kind = 'revoked', reason = 'logout', presented_generation = null`, 5, content],
    ['generation', 'generation = 7', 2, content],
    ['occurred_at', `occurred_at = occurred_at + interval '1 ms'`, 2, content],
    ['expires_at', `expires_at = expires_at - interval '1 ms'`, 2, content],
    [
      'absolute_expires_at',
      `absolute_expires_at = absolute_expires_at + interval '1 day'`,
      2,
      content,
    ],
    ['user_id', 'user_id = gen_random_uuid()', 1, content],
    ['transport', `transport = 'cookie'`, 1, content],
    ['token_hash', `token_hash = sha256('x')`, 2, content],
    ['salt', `salt = '\\x00112233445566778899aabbccddeeff'`, 2, content],
    ['attempt_hash', 'attempt_hash = null', 2, content],
    ['presented_generation', 'presented_generation = 1', 5, content],
    ['reason', `reason = 'grace_window'`, 3, content],
    ['ip', `ip = '198.51.100.1'`, 2, 'ip or user_agent do not match their hash'],
    ['user_agent', `user_agent = 'another'`, 2, 'ip or user_agent do not match their hash'],
    ['origin_salt', 'origin_salt = null', 2, 'ip or user_agent without their salt'],
    ['origin_hash', `origin_hash = sha256('x')`, 2, content],
    ['prev_hash', `prev_hash = sha256('x')`, 2, 'prev_hash is not the hash of event 1'],
    ['prev_hash', `prev_hash = sha256('x')`, 1, 'prev_hash of the first event is not empty'],
    ['hash', `hash = sha256('x')`, 2, content],
    ['txid', `txid = '1'`, 2, 'its transaction is older than the one before'],
    ['methods', `methods = array['pwd', 'otp']`, 1, content],
    ['authenticated_at', `authenticated_at = authenticated_at - interval '1 ms'`, 1, content],
    ['both', 'methods = null, authenticated_at = null', 1, content],
  ]
  test.each(cases)('a change of %s (%s at %i)', async (_column, set, seq, problem) => {
    const found = await after(`update token_ledger.token_event set ${set} ${event(seq)}`)
    expect(found.inSql).toEqual([[familyId, seq, problem]])
    expect(found.inTypeScript).toEqual(found.inSql)
  })

  test('a change of actor_user_id', async () => {
    const found = await after(
      `update token_ledger.token_event set actor_user_id = null ${event(3, otherFamilyId)}`,
    )
    expect(found.inSql).toEqual([[otherFamilyId, 3, content]])
    expect(found.inTypeScript).toEqual(found.inSql)
  })

  test.each([
    ['user_id', 'user_id = gen_random_uuid()'],
    ['transport', `transport = 'cookie'`],
    ['created_at', `created_at = created_at - interval '1 ms'`],
    ['absolute_expires_at', `absolute_expires_at = absolute_expires_at + interval '1 day'`],
  ])('a change of %s in the family row', async (_column, set) => {
    const found = await after(
      `update token_ledger.token_family set ${set} where family_id = '${familyId}'`,
    )
    expect(found.inSql).toEqual([[familyId, 1, 'the family row differs from the first event']])
    expect(found.inTypeScript).toEqual(found.inSql)
  })
})

test('LE-05 (ASVS 16.4.2): two events that changed places are found', async () => {
  const found = await after(
    `update token_ledger.token_event set seq = 99 ${event(2)};
     update token_ledger.token_event set seq = 2 ${event(3)};
     update token_ledger.token_event set seq = 3 ${event(99)}`,
  )
  expect(found.inSql).toEqual([[familyId, 2, 'prev_hash is not the hash of event 1']])
  expect(found.inTypeScript).toEqual(found.inSql)
})

test('LE-05 (ASVS 16.4.2): an event deleted from the middle is reported by its number', async () => {
  const found = await after(`delete from token_ledger.token_event ${event(3)}`)
  expect(found.inSql).toEqual([[familyId, 3, 'event 3 is missing']])
  expect(found.inTypeScript).toEqual(found.inSql)
})

test('LE-05 (ASVS 16.4.2): an event appended at the end is found by its hash', async () => {
  const found = await after(
    `insert into token_ledger.token_event
       (family_id, seq, kind, generation, occurred_at, reason, origin_hash, prev_hash, hash)
     select family_id, 6, 'revoked', generation, occurred_at, 'logout', origin_hash, hash, sha256('x')
     from token_ledger.token_event ${event(5)}`,
  )
  expect(found.inSql).toEqual([[familyId, 6, 'the hash does not match the content']])
  expect(found.inTypeScript).toEqual(found.inSql)
})

describe('LE-05 (ASVS 16.4.2): a recomputed chain is found when its history is illegal', () => {
  const columns = `family_id, seq, kind, generation, occurred_at, reason, origin_hash, hash`
  test.each<[problem: string, seq: number, statement: string]>([
    [
      'replayed after the token had expired',
      3,
      `update token_ledger.token_event set expires_at = occurred_at ${event(2)}`,
    ],
    [
      'revoked after the family was over',
      6,
      `insert into token_ledger.token_event (${columns})
       select family_id, 6, 'revoked', generation, occurred_at, 'logout', origin_hash, hash
       from token_ledger.token_event ${event(5)}`,
    ],
    ['generation 5 follows 1', 4, `update token_ledger.token_event set generation = 5 ${event(4)}`],
    [
      'replayed changes the generation',
      3,
      `update token_ledger.token_event set generation = 2, presented_generation = 1 ${event(3)}`,
    ],
    [
      'it comes before the event before it',
      4,
      `update token_ledger.token_event set occurred_at = occurred_at - interval '1 minute' ${event(4)}`,
    ],
    [
      'the end of the family moved',
      4,
      `update token_ledger.token_event
       set absolute_expires_at = absolute_expires_at + interval '1 day' ${event(4)}`,
    ],
    [
      'it is issued twice',
      4,
      `update token_ledger.token_event
       set kind = 'issued', generation = 0, user_id = gen_random_uuid(), transport = 'body', salt = null,
         attempt_hash = null ${event(4)}`,
    ],
    [
      'it begins with rotated',
      1,
      `update token_ledger.token_event
       set kind = 'rotated', generation = 1, user_id = null, transport = null, methods = null, authenticated_at = null,
         salt = decode(repeat('00', 16), 'hex') ${event(1)}`,
    ],
    [
      'a rotation changes the authentication',
      2,
      `update token_ledger.token_event set methods = '{otp}' ${event(2)}`,
    ],
    [
      'a rotation changes the authentication',
      4,
      `update token_ledger.token_event
       set authenticated_at = authenticated_at - interval '1 ms' ${event(4)}`,
    ],
    [
      'replayed in the grace window, but a reauthentication leaves none',
      3,
      `update token_ledger.token_event set kind = 'reauthenticated' ${event(2)};
       update token_ledger.token_event set reason = 'grace_window' ${event(3)}`,
    ],
  ])('a recomputed chain has the problem: %s', async (problem, seq, statement) => {
    const found = await after(`${statement}; ${rebuiltChain}`)
    expect(found.inSql).toEqual([[familyId, seq, problem]])
    expect(found.inTypeScript).toEqual(found.inSql)
  })

  test.each([
    ['an instant after the event', `authenticated_at = occurred_at + interval '1 ms'`],
    ['no method', `methods = '{}'`],
    ['eleven methods', `methods = '{a,b,c,d,e,f,g,h,i,j,k}'`],
    ['a method that is no word', `methods = '{pässword}'`],
    ['two methods in one', `methods = '{"pwd otp"}'`],
    ['no instant', 'authenticated_at = null'],
    ['an instant before 1970', `authenticated_at = '1969-12-31T23:59:59.999Z'`],
    ['a part of a millisecond', `authenticated_at = authenticated_at - interval '500 us'`],
  ])('a recomputed chain has a malformed authentication: %s', async (what, set) => {
    const without = ['authentication', 'shape']
      .map((name) => `drop constraint token_event_${name}`)
      .join(', ')
    const found = await after(`
      create table public.kept_check as
      select conname, pg_get_constraintdef(oid) as definition from pg_constraint
      where conrelid = 'token_ledger.token_event'::regclass and conname ~ '_(authentication|shape)$';
      alter table token_ledger.token_event ${without};
      update token_ledger.token_event set ${set} ${event(1)}; ${rebuiltChain}`)
    await ledger.owner.ownerSql.unsafe(`
      do $$ declare c record; begin
        for c in select * from public.kept_check loop
          execute format('alter table token_ledger.token_event add constraint %I %s', c.conname, c.definition);
        end loop;
        drop table public.kept_check;
      end $$`)
    expect(found.inSql).toEqual([[familyId, 1, 'its authentication is malformed']])
    // The text of an export cannot have these: see `ChainProblem`.
    const noRecord = [
      familyId,
      null,
      expect.stringContaining('not a valid record: methods') as string,
    ]
    const inExport: Record<string, (string | number | null)[]> = {
      'no method': noRecord,
      'eleven methods': noRecord,
      'a method that is no word': noRecord,
      'two methods in one': [familyId, 2, 'a rotation changes the authentication'],
      'a part of a millisecond': [familyId, 1, 'the hash does not match the content'],
    }
    expect(found.inTypeScript[0]).toEqual(inExport[what] ?? found.inSql[0])
  })
})

describe('V28: what a chain alone cannot see, as docs/guides/sql.md says', () => {
  test.each([
    [
      'a whole family',
      () =>
        `delete from token_ledger.token_event where family_id = '${familyId}';
         delete from token_ledger.token_family where family_id = '${familyId}'`,
    ],
    [
      'a chain computed anew after a legal change',
      () => `update token_ledger.token_event set reason = 'user_revoked' ${event(3, otherFamilyId)};
             ${rebuiltChain}`,
    ],
    [
      'the name of a device',
      () =>
        `update token_ledger.token_family set device_name = 'x' where family_id = '${familyId}'`,
    ],
  ])('the chain alone does not show a change of %s', async (_what, statement) => {
    expect(await after(statement())).toEqual({ inSql: [], inTypeScript: [] })
  })

  test('the index of open families shows an end that was cut off', async () => {
    const found = await after(`delete from token_ledger.token_event ${event(5)}`)
    expect(found.inSql).toEqual([[familyId, 1, 'it is active, but open_family lacks it']])
    expect(found.inTypeScript).toEqual([])
  })
})

test('LE-05 (ASVS 16.4.2): a family without its row and a row without its family are found', async () => {
  const noRow = await after(`delete from token_ledger.token_family where family_id = '${familyId}'`)
  expect(noRow.inSql).toEqual([[familyId, 1, 'the family row is missing']])
  expect(noRow.inTypeScript).toEqual(noRow.inSql)
  const noEvents = await after(
    `delete from token_ledger.token_event where family_id = '${familyId}'`,
  )
  expect(noEvents.inSql).toEqual([[familyId, 1, 'event 1 is missing']])
  expect(noEvents.inTypeScript).toEqual(noEvents.inSql)
})

test('an unknown family does not verify', async () => {
  const [verdict] = await ledger.owner.ownerSql`
    select * from token_audit.verify_family('00000000-0000-7000-8000-000000000000')`
  expect(verdict).toMatchObject({ intact: false, events: 0, problem: 'there is no such family' })
  expect(checkFamily(null, [])).toEqual({ seq: 1, problem: 'event 1 is missing' })
})

/** As an attacker with all rights and this source code would do it. */
const rebuiltChain = `
  do $$
  declare
    e token_ledger.token_event;
    last bytea;
  begin
    for e in select * from token_ledger.token_event order by family_id, seq loop
      e.prev_hash := case when e.seq > 1 then last end;
      last := token_ledger.event_hash(e);
      update token_ledger.token_event set prev_hash = e.prev_hash, hash = last
      where family_id = e.family_id and seq = e.seq;
    end loop;
  end
  $$`
