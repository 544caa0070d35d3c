import { hash as argon2Hash, parseOptions, verify as argon2Verify } from '@node-rs/argon2'
import type { Algorithm, ParsedHashOptions, Version } from '@node-rs/argon2'
import { randomBytes } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { AuthError } from '../errors.ts'
import { createHashQueue } from './hash-queue.ts'
import type { HashLoad, HashQueue } from './hash-queue.ts'
import { normalPassword } from './password-rule.ts'

export { passwordProblem } from './password-rule.ts'

export type Passwords = Pick<HashQueue, 'refuseIfResting'> & {
  /**
   * @param network shares a place in the queue: see `createHashQueue`
   * @returns a PHC string of 97 characters
   * @throws {AuthError} `service_unavailable` if too many hashes wait; `validation_failed` for a
   * password that `passwordProblem` refuses whatever the minimum length
   */
  hash(password: string, network?: string): Promise<string>
  /**
   * @param phc null for an unknown user: the result is then false, after the same work
   * @throws {AuthError} `service_unavailable` if too many hashes wait; `internal_error` for a stored
   * hash that is not argon2id or exceeds the bounds
   */
  verify(phc: string | null, password: string, network?: string): Promise<boolean>
  /** Whether `phc` was made with other parameters than the current ones: hash again while the password is known. */
  needsRehash(phc: string): boolean
  load(): HashLoad
}

export type PasswordsOptions = {
  readonly concurrency?: number
  readonly queueLimit?: number
}

// Both enums are ambient `const enum`s, which do not exist at run time.
/* oxlint-disable typescript/no-unsafe-enum-assignment */
const argon2id: Algorithm.Argon2id = 2
const version19: Version.V0x13 = 1
/* oxlint-enable typescript/no-unsafe-enum-assignment */

/** OWASP Password Storage cheat sheet and ASVS 5.0 Appendix C: 19 MiB, two passes, one lane. */
const parameters = { memoryCost: 19_456, timeCost: 2, parallelism: 1, outputLen: 32 } as const
const saltBytes = 16

/**
 * The highest parameters accepted in a stored hash: enough for every argon2id row of the OWASP table and for
 * stronger imported hashes. A hash beyond them could take gigabytes or minutes at each sign-in.
 */
const bounds = {
  memoryKiB: 128 * 1024,
  passes: 8,
  lanes: 4,
  saltBytes: 64,
  outputBytes: 64,
} as const

/** A PHC string within the bounds has about 230 characters at most. */
const maxPhcLength = 256

/**
 * How many hashes run at once. One core stays free for everything else: on two cores, two hashes at once made the
 * slowest 1 % of other callers' refreshes take 3.2 times as long. One makes them take 1.8 times as long, for a fifth fewer
 * sign-ins a second.
 *
 * argon2 runs on libuv's pool of four threads, which DNS, files and WebCrypto share. Two hashes leave half
 * of the pool free and need 38 MiB at most.
 */
export function hashesAtOnce(cores: number): number {
  return Math.min(Math.max(cores - 1, 1), 2)
}

/** One to two seconds of waiting at 15 to 30 ms a hash, one at a time. Further callers get 503 and try again. */
const defaultQueueLimit = 64

export function createPasswords(options: PasswordsOptions = {}): Passwords {
  const { concurrency = hashesAtOnce(availableParallelism()), queueLimit = defaultQueueLimit } =
    options
  const queue = createHashQueue({ concurrency, queueLimit })
  const unmatchable = unmatchableHash()

  return {
    async hash(password, network) {
      const normal = normalPassword(password)
      if (normal === null)
        throw new AuthError(
          'validation_failed',
          'the password is never accepted, whatever the minimum length',
        )
      const salt = randomBytes(saltBytes)
      const all = { ...parameters, algorithm: argon2id, version: version19, salt }
      return queue.run(() => argon2Hash(normal, all), network)
    },

    async verify(phc, password, network) {
      const normal = normalPassword(password)
      // Depends on the password alone, so the quick answer reveals nothing about the user.
      if (normal === null) return false
      const stored = phc ?? unmatchable
      const problem = phcProblem(stored)
      if (problem) throw new AuthError('internal_error', `stored password hash: ${problem}`)
      return queue.run(() => argon2Verify(stored, normal), network)
    },

    needsRehash: (phc) => !isCurrent(parsed(phc)),
    refuseIfResting: (network) => queue.refuseIfResting(network),
    load: () => queue.load(),
  }
}

/**
 * A hash with the current parameters and a random output: verifying it takes as long as verifying a user's
 * hash, and no password matches it (ASVS 6.3.8).
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
  // Checked before the verification, which allocates as much memory as the string says.
  if (options.algorithm !== argon2id) return 'not argon2id'
  if (options.version !== version19) return 'not version 19'
  if (options.memoryCost > bounds.memoryKiB) return `m=${options.memoryCost} is above the limit`
  if (options.timeCost > bounds.passes) return `t=${options.timeCost} is above the limit`
  if (options.parallelism > bounds.lanes) return `p=${options.parallelism} is above the limit`
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

/** Parsed by the library, so that the numbers checked are the ones it will use. */
function parsed(phc: string): ParsedHashOptions | null {
  if (phc.length > maxPhcLength) return null
  try {
    return parseOptions(phc)
  } catch {
    return null
  }
}
