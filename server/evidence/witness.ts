import { verify } from 'node:crypto'
import { proveConsistency, type ReadSubtree } from './merkle.ts'
import {
  algorithms,
  keyIdOf,
  NoteError,
  parseNote,
  parseSignature,
  parseVerifierKey,
  type VerifierKey,
} from './signed-note.ts'

/** The witness did not cosign a checkpoint. */
export class WitnessError extends Error {}

/**
 * A party elsewhere that cosigns a checkpoint once it has checked that the log continues the last one that it cosigned
 * (C2SP tlog-witness). With its cosignature, an outsider knows that no other outsider was shown another log.
 */
export type Witness = {
  /**
   * @param checkpoint a note that the log has signed
   * @returns the line of the cosignature
   * @throws {WitnessError} when the witness is away, knows more leaves, or refuses
   */
  cosign(
    checkpoint: { readonly size: number; readonly note: string },
    read: ReadSubtree,
  ): Promise<string>
  hasCosigned(note: string): boolean
}

const answerWithinMs = 3_000

/** Of an answer, no more is read: a cosignature and a size are shorter. */
const maxAnswerBytes = 16_384

/** After a failure, the witness is left alone for as long: callers of the checkpoint do not wait for it each time. */
const pauseMs = 60_000

/**
 * @param witness.url the address that `add-checkpoint` is appended to
 * @param witness.key the witness's verifier key
 * @throws {NoteError} when the key is none, or not one of cosignatures
 */
export function createWitness(witness: { url: string; key: string }): Witness {
  const key = parseVerifierKey(witness.key, algorithms.cosignature)
  const address = `${witness.url.replace(/\/$/, '')}/add-checkpoint`
  /** The size that the witness cosigned last. It says so where this process does not know it. */
  let known = 0
  let failure: { readonly error: WitnessError; readonly until: number } | null = null

  async function ask(size: number, note: string, read: ReadSubtree): Promise<Answer> {
    const proof = await proveConsistency(known, size, read)
    const hashes = proof.map((hash) => hash.toString('base64'))
    try {
      const answer = await fetch(address, {
        method: 'POST',
        body: [`old ${known}`, ...hashes, '', note].join('\n'),
        redirect: 'error',
        signal: AbortSignal.timeout(answerWithinMs),
      })
      return { status: answer.status, text: await beginningOf(answer) }
    } catch (error) {
      throw new WitnessError('the witness cannot be reached', { cause: error })
    }
  }

  async function cosign(size: number, note: string, read: ReadSubtree): Promise<string> {
    mustNotKnowMore(size)
    let answer = await ask(size, note, read)
    if (answer.status === 409) {
      known = sizeIn(answer.text)
      mustNotKnowMore(size)
      answer = await ask(size, note, read)
    }
    if (answer.status !== 200) throw new WitnessError(`the witness answered ${answer.status}`)
    const line = answer.text.split('\n').find((one) => isCosignature(one, note, key))
    if (line === undefined) throw new WitnessError('the answer of the witness is no cosignature')
    known = size
    return `${line}\n`
  }

  function mustNotKnowMore(size: number): void {
    if (known <= size) return
    const problem = `the witness knows a log of ${known} leaves, and this one has ${size}`
    // The next question begins anew: the witness may have been repaired.
    known = 0
    throw new WitnessError(problem)
  }

  return {
    async cosign({ size, note }, read) {
      if (failure !== null && performance.now() < failure.until) throw failure.error
      try {
        const line = await cosign(size, note, read)
        failure = null
        return line
      } catch (error) {
        if (error instanceof WitnessError) failure = { error, until: performance.now() + pauseMs }
        throw error
      }
    },
    hasCosigned: (note) => note.split('\n').some((line) => isCosignature(line, note, key)),
  }
}

type Answer = { readonly status: number; readonly text: string }

async function beginningOf({ body }: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of body ?? []) {
    chunks.push(chunk)
    length += chunk.length
    if (length >= maxAnswerBytes) break
  }
  return Buffer.concat(chunks).subarray(0, maxAnswerBytes).toString()
}

function sizeIn(text: string): number {
  if (!/^(0|[1-9]\d{0,15})\n?$/.test(text))
    throw new WitnessError('the witness answered 409 without a size')
  return Number(text)
}

/** Whether the line is this key's signature over the note's text and a time (C2SP tlog-cosignature). */
function isCosignature(line: string, note: string, key: VerifierKey): boolean {
  try {
    const { name, keyId, bytes } = parseSignature(line)
    if (name !== key.name || keyId !== keyIdOf(key) || bytes.length !== 72) return false
    const time = bytes.readBigUInt64BE(0)
    const signed = `cosignature/v1\ntime ${time}\n${parseNote(note).text}`
    return verify(null, Buffer.from(signed), key.publicKey, bytes.subarray(8))
  } catch (error) {
    if (error instanceof NoteError) return false
    throw error
  }
}
