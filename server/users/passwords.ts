import { hash as argon2Hash, parseOptions, verify as argon2Verify } from '@node-rs/argon2'
import type { Algorithm, ParsedHashOptions, Version } from '@node-rs/argon2'
import { randomBytes } from 'node:crypto'
import { AuthError } from '../errors.ts'
import { createHashQueue } from './hash-queue.ts'
import type { HashLoad } from './hash-queue.ts'
import { normalPassword } from './password-rule.ts'

export { passwordProblem } from './password-rule.ts'

export type Passwords = {
  /**
   * @returns a PHC string, 97 characters.
   * @throws AuthError `service_unavailable` when too many hashes wait; `validation_failed` for a
   * password that `passwordProblem` refuses whatever the shortest length.
   */
  hash(password: string): Promise<string>
  /**
   * `phc` is null when there is no such user: the answer is then false, after the same work.
   *
   * @throws AuthError `service_unavailable` when too many hashes wait; `internal_error` for a stored
   * hash that is not argon2id within our bounds.
   */
  verify(phc: string | null, password: string): Promise<boolean>
  /** True when `phc` was not made with today's parameters: hash again while the password is known. */
  needsRehash(phc: string): boolean
  load(): HashLoad
}

export type PasswordsOptions = {
  readonly concurrency?: number
  readonly queueLimit?: number
}

// Both enums are ambient `const enum`s, of which nothing exists at run time: the numbers are all there is.
/* oxlint-disable typescript/no-unsafe-enum-assignment */
const argon2id: Algorithm.Argon2id = 2
const version19: Version.V0x13 = 1
/* oxlint-enable typescript/no-unsafe-enum-assignment */

/** OWASP Password Storage cheat sheet and ASVS 5.0 Appendix C: 19 MiB, two passes, one lane. */
const parameters = { memoryCost: 19_456, timeCost: 2, parallelism: 1, outputLen: 32 } as const
const saltBytes = 16

/**
 * What a stored hash may ask of us. Wide enough for every argon2id row of the OWASP table and for
 * stronger imports; a row beyond it would let whoever wrote it take gigabytes or minutes per sign-in.
 */
const bounds = {
  memoryKiB: 128 * 1024,
  passes: 8,
  lanes: 4,
  saltBytes: 64,
  outputBytes: 64,
} as const

/** A PHC string within the bounds is at most about 230 characters. */
const maxPhcLength = 256

/**
 * argon2 runs on libuv's pool: four threads, shared with DNS, files and WebCrypto (our signatures).
 * Two leave half of it free, and hold 38 MiB at the worst.
 */
const defaultConcurrency = 2

/** About a second of waiting at 25–35 ms a hash and two at a time; later callers try again. */
const defaultQueueLimit = 64

export function createPasswords(options: PasswordsOptions = {}): Passwords {
  const { concurrency = defaultConcurrency, queueLimit = defaultQueueLimit } = options
  const queue = createHashQueue({ concurrency, queueLimit })
  const nobodysHash = unmatchableHash()

  return {
    async hash(password) {
      const normal = normalPassword(password)
      if (normal === null) throw new AuthError('validation_failed', 'a password no rule allows')
      const salt = randomBytes(saltBytes)
      const all = { ...parameters, algorithm: argon2id, version: version19, salt }
      return queue.run(() => argon2Hash(normal, all))
    },

    async verify(phc, password) {
      const normal = normalPassword(password)
      // Told by the password alone, so the quick answer says nothing about the user.
      if (normal === null) return false
      const stored = phc ?? nobodysHash
      const problem = phcProblem(stored)
      if (problem) throw new AuthError('internal_error', `stored password hash: ${problem}`)
      return queue.run(() => argon2Verify(stored, normal))
    },

    needsRehash: (phc) => !isCurrent(parsed(phc)),
    load: () => queue.load(),
  }
}

/**
 * A hash in today's parameters whose output was drawn, not computed: it costs a verification the same
 * as a user's own hash, and no password leads to it (ASVS 6.3.8).
 */
function unmatchableHash(): string {
  const { memoryCost, timeCost, parallelism, outputLen } = parameters
  const cost = `m=${memoryCost},t=${timeCost},p=${parallelism}`
  return `$argon2id$v=19$${cost}$${phcBase64(saltBytes)}$${phcBase64(outputLen)}`
}

function phcBase64(bytes: number): string {
  return randomBytes(bytes).toString('base64').replaceAll('=', '')
}

function phcProblem(phc: string): string | null {
  const options = parsed(phc)
  if (!options) return 'not a PHC string of argon2'
  // Before any verification: argon2 allocates what the string asks for.
  if (options.algorithm !== argon2id) return 'not argon2id'
  if (options.version !== version19) return 'not version 19'
  if (options.memoryCost > bounds.memoryKiB) return `m=${options.memoryCost} is too much`
  if (options.timeCost > bounds.passes) return `t=${options.timeCost} is too much`
  if (options.parallelism > bounds.lanes) return `p=${options.parallelism} is too much`
  if (options.saltLen > bounds.saltBytes) return 'the salt is too long'
  if (options.outputLen > bounds.outputBytes) return 'the output is too long'
  return null
}

function isCurrent(options: ParsedHashOptions | null): boolean {
  return (
    options !== null &&
    options.algorithm === argon2id &&
    options.version === version19 &&
    options.memoryCost === parameters.memoryCost &&
    options.timeCost === parameters.timeCost &&
    options.parallelism === parameters.parallelism &&
    options.outputLen === parameters.outputLen &&
    options.saltLen >= saltBytes
  )
}

/** Read by the library's own parser, so that we judge the numbers that it will use. */
function parsed(phc: string): ParsedHashOptions | null {
  if (phc.length > maxPhcLength) return null
  try {
    return parseOptions(phc)
  } catch {
    return null
  }
}
