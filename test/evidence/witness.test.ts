import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { openCheckpoint } from '../../server/evidence/checkpoint.ts'
import { createCheckpointSigner, verifierKeyOf } from '../../server/evidence/sign-checkpoints.ts'
import { parseNote } from '../../server/evidence/signed-note.ts'
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
    what: 'resets its answer',
    answer: { status: 409, body: '1', breaksOff: 'reset' as const },
    says: 'the witness cannot be reached',
  },
  {
    what: 'stalls in its answer',
    answer: { status: 200, body: '— witness.example ', breaksOff: 'stalls' as const },
    says: 'the witness cannot be reached',
  },
  {
    what: 'answers without an end',
    answer: { status: 200, body: '\n'.repeat(100_000), breaksOff: 'stalls' as const },
    says: 'the answer of the witness is no cosignature',
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

test('a cosignature of another checkpoint is not published', async () => {
  await using witness = await startWitness(key)
  const { note } = await signNext(witness)
  witness.answerWith({ status: 200, body: witness.cosignature(parseNote(note).text) })
  const problems: string[] = []
  const next = await signNext(witness, problems)
  expect(problems).toEqual(['the answer of the witness is no cosignature'])
  expect(signaturesOf(next.note)).toHaveLength(1)
})

const read = () => Promise.resolve(Buffer.alloc(32))

test.each([
  {
    what: 'of another log, or one that was shown another log,',
    answer: { status: 422, body: '' },
    says: 'the witness answered 422',
  },
  {
    what: 'that breaks off its answer',
    answer: { status: 200, body: '', breaksOff: 'reset' as const },
    says: 'the witness cannot be reached',
  },
])('a witness $what is asked once a minute', async ({ answer, says }) => {
  await using witness = await startWitness(key)
  await signNext(witness)
  const before = witness.answers.length
  witness.answerWith(answer)
  const problems: string[] = []
  const client = createWitness(witness)
  for (let i = 0; i < 3; i++)
    await client
      .cosign({ size: 5, note: 'nonsense' }, read)
      .catch(({ message }: Error) => void problems.push(message))
  expect(problems).toEqual(Array.from({ length: 3 }, () => says))
  expect(witness.answers).toHaveLength(before + 1)
})

test('a witness that knew a longer log is asked again after the pause', async () => {
  await using witness = await startWitness(key)
  witness.answerWith({ status: 409, body: '1000000\n' })
  const client = createWitness(witness)
  const cosigning = () => client.cosign({ size: 5, note: 'nonsense' }, read)
  const saysSo = 'the witness knows a log of 1000000 leaves, and this one has 5'
  await expect(cosigning()).rejects.toThrow(saysSo)
  const later = performance.now() + 61_000
  const clock = vi.spyOn(performance, 'now').mockReturnValue(later)
  try {
    await expect(cosigning()).rejects.toThrow(saysSo)
    expect(witness.answers).toEqual([409, 409])
  } finally {
    clock.mockRestore()
  }
})
