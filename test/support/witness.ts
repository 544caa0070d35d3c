import { generateKeyPairSync, sign } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { openCheckpoint, type Checkpoint } from '../../server/evidence/checkpoint.ts'
import { emptyRoot, isConsistent, ProofError } from '../../server/evidence/merkle.ts'
import {
  algorithms,
  formatVerifierKey,
  keyIdOf,
  parseNote,
  type VerifierKey,
} from '../../server/evidence/signed-note.ts'

export type TestWitness = AsyncDisposable & {
  readonly url: string
  /** Its verifier key, in one line. */
  readonly key: string
  /** The status of each answer, in order. */
  readonly answers: readonly number[]
  /** The checkpoint that it cosigned last. */
  readonly known: () => Pick<Checkpoint, 'size' | 'root'>
  /** What it answers from now on instead, if anything. */
  answerWith(broken: Answer | null): void
  /** A line with its signature over a checkpoint's text, whatever that says. */
  cosignature(text: string): string
}

/** @property breaksOff after the body, the answer does not end: it stalls, or the connection is reset */
type Answer = { status: number; body: string; breaksOff?: 'stalls' | 'reset' }

/** A witness as C2SP tlog-witness describes it, for one log. */
export async function startWitness(log: VerifierKey): Promise<TestWitness> {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const key = { name: 'witness.example', publicKey, algorithm: algorithms.cosignature }
  const answers: number[] = []
  let known: Pick<Checkpoint, 'size' | 'root'> = { size: 0, root: emptyRoot }
  let broken: Answer | null = null

  function answerTo(request: string): Answer {
    const end = request.indexOf('\n\n')
    const [first = '', ...hashes] = request.slice(0, end).split('\n')
    const note = request.slice(end + 2)
    if (Number(/^old (\d+)$/.exec(first)?.[1]) !== known.size)
      return { status: 409, body: `${known.size}\n` }
    const checkpoint = openCheckpoint(note, [log])
    const proof = hashes.map((hash) => Buffer.from(hash, 'base64'))
    try {
      if (!isConsistent(known, checkpoint, proof)) return { status: 422, body: '' }
    } catch (error) {
      if (error instanceof ProofError) return { status: 422, body: '' }
      throw error
    }
    known = checkpoint
    return { status: 200, body: cosignature(parseNote(note).text) }
  }

  function cosignature(of: string): string {
    const time = Math.floor(Date.now() / 1000)
    const blob = Buffer.alloc(12)
    blob.writeUInt32BE(keyIdOf(key))
    blob.writeBigUInt64BE(BigInt(time), 4)
    const signed = Buffer.from(`cosignature/v1\ntime ${time}\n${of}`)
    const signature = Buffer.concat([blob, sign(null, signed, privateKey)])
    return `— ${key.name} ${signature.toString('base64')}\n`
  }

  const server = createServer((request, response) => {
    void text(request).then((body) => {
      const answer: Answer =
        request.url === '/add-checkpoint' ? (broken ?? answerTo(body)) : { status: 404, body: '' }
      answers.push(answer.status)
      response.writeHead(answer.status)
      if (answer.breaksOff === undefined) response.end(answer.body)
      else
        response.write(answer.body, () => {
          if (answer.breaksOff === 'reset') setTimeout(() => response.socket?.resetAndDestroy(), 50)
        })
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    key: formatVerifierKey(key),
    answers,
    known: () => known,
    answerWith: (answer) => void (broken = answer),
    cosignature,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
