import { afterAll, beforeAll, expect, test } from 'vitest'
import { openCheckpoint } from '../../server/evidence/checkpoint.ts'
import { createCheckpointSigner, verifierKeyOf } from '../../server/evidence/sign-checkpoints.ts'
import { createWitness } from '../../server/evidence/witness.ts'
import { startLedger, type TestLedger } from '../support/ledger.ts'
import { completeLog, makeIdentity } from '../support/log.ts'
import { startWitness } from '../support/witness.ts'

let ledger: TestLedger
const identity = makeIdentity()
const key = verifierKeyOf(identity)

beforeAll(async () => {
  ledger = await startLedger()
})
afterAll(() => ledger[Symbol.asyncDispose]())

/** Makes the log grow by one leaf, and signs a checkpoint as a process does that has just started. */
async function signNext(witness: { url: string; key: string }, problems: string[] = []) {
  await ledger.owner.ownerSql`
    insert into token_ledger.admin_action (action) values ('user_created')`
  await completeLog(ledger.owner)
  return signNow(witness, problems)
}

function signNow(witness: { url: string; key: string }, problems: string[] = []) {
  return createCheckpointSigner(ledger.database, identity, {
    witness: createWitness(witness),
    onUnwitnessed: ({ message }) => void problems.push(message),
  }).current()
}

const signaturesOf = (note: string) => note.split('\n').filter((line) => line.startsWith('— '))

test('a witness that checks each proof cosigns every checkpoint, also of a process that does not know its size', async () => {
  await using witness = await startWitness(key)
  for (let i = 0; i < 9; i++) {
    const { note, size } = await signNext(witness)
    expect(signaturesOf(note)).toEqual([
      expect.stringContaining(`— ${key.name} `),
      expect.stringContaining('— witness.example '),
    ])
    expect(openCheckpoint(note, [key]).size).toBe(size)
    expect(witness.known().size).toBe(size)
  }
  expect(witness.answers).toEqual([200, ...Array.from({ length: 8 }, () => [409, 200]).flat()])
})

test.each([
  { what: 'is away', answer: { status: 503, body: '' }, says: 'the witness answered 503' },
  {
    what: 'signs something else',
    answer: { status: 200, body: `— witness.example ${Buffer.alloc(76, 1).toString('base64')}\n` },
    says: 'the answer of the witness is no cosignature',
  },
  {
    what: 'says 409 without a size',
    answer: { status: 409, body: '<html>' },
    says: 'the witness answered 409 without a size',
  },
  {
    what: 'knows a longer log',
    answer: { status: 409, body: '1000000\n' },
    says: /^the witness knows a log of 1000000 leaves, and this one has \d+$/,
  },
])(
  'while a witness $what, a checkpoint is published without its line, and the next start asks again',
  async ({ answer, says }) => {
    await using witness = await startWitness(key)
    witness.answerWith(answer)
    const problems: string[] = []
    const { note, size } = await signNext(witness, problems)
    expect(problems).toEqual([expect.stringMatching(says)])
    expect(signaturesOf(note)).toHaveLength(1)
    witness.answerWith(null)
    const again = await signNow(witness)
    expect([again.size, signaturesOf(again.note).length]).toEqual([size, 2])
    expect((await signNow(witness)).note).toBe(again.note)
  },
)

test('a witness of another log, or one that was shown another log, is asked once a minute', async () => {
  await using witness = await startWitness(key)
  await signNext(witness)
  witness.answerWith({ status: 422, body: '' })
  const problems: string[] = []
  const client = createWitness(witness)
  const read = () => Promise.resolve(Buffer.alloc(32))
  for (let i = 0; i < 3; i++)
    await client
      .cosign({ size: 5, note: 'nonsense' }, read)
      .catch(({ message }: Error) => void problems.push(message))
  expect(problems).toEqual(Array.from({ length: 3 }, () => 'the witness answered 422'))
  expect(witness.answers.filter((status) => status === 422)).toHaveLength(1)
})
