import { hasEverSignedIn, hasSignedInFrom, readOwner } from '../../db/audit/sessions.ts'
import type { Database } from '../../db/connection/connect.ts'
import { nilUuid } from '../../db/uuid.ts'
import {
  account,
  accountAndNetwork,
  device,
  passwordsOfNetwork,
  rightPasswords,
  type NetworkBounds,
} from './bounds.ts'
import type { Count, Counters } from './counters.ts'
import { networksOf } from './networks.ts'
import { tooManyAttempts } from './too-many-attempts.ts'

/** A password that is about to be checked. */
export type PasswordAttempt = {
  /** A keyed hash of the canonical address, so that all its spellings share one count. */
  readonly accountHash: string
  readonly ip: string | null
  /** The address is that of a proxy, which others come through as well. */
  readonly isAddressShared: boolean
  /** The families of the refresh tokens that the caller presents, spent or ended: their MACs are ours. */
  readonly familyIds: readonly string[]
  /** Asked only where a limit is exceeded. */
  readonly findUserId: () => Promise<string | null>
}

export type PasswordLimits = {
  /**
   * Counts a password check before it is made, so that parallel guesses are counted too. Only a wrong
   * password keeps its points: a right one, and a check that failed, give them back.
   *
   * Right passwords have a limit of their own, which nothing gives back.
   *
   * @throws {AuthError} `too_many_attempts` with the seconds to wait; whatever `check` throws
   */
  countingPassword(attempt: PasswordAttempt, check: () => Promise<boolean>): Promise<boolean>
}

/** Where passwords of a network wait to be checked. */
export type PasswordQueue = {
  /** @throws {AuthError} `too_many_attempts` if it would not take another one of this network */
  refuseIfResting(network: string): void
}

/** There is no limit for all callers together: the bounded queue of password hashing acts as one. */
export function createPasswordLimits(
  database: Database,
  counters: Counters,
  queue: PasswordQueue,
): PasswordLimits {
  /** @returns the counts that have a point of this attempt */
  async function admit(attempt: PasswordAttempt): Promise<readonly Count[]> {
    const ofNetworks = attempt.isAddressShared
      ? []
      : countsOf(passwordsOfNetwork, networksOf(attempt.ip))
    const here = [...ofNetworks, ...countsHere(attempt)]
    const everywhere = { bound: account, key: attempt.accountHash }

    const over = await counters.take([...here, everywhere])
    if (over.length === 0) return [...here, everywhere]
    // Guesses of others do not lock the owner out.
    const ownDevice = await findDevice(attempt)
    if (ownDevice !== null) return [ownDevice]
    if (over.every(({ bound }) => bound === account)) {
      if ((await isAtHome(attempt)) && (await counters.take(here)).length === 0) return here
      // The next refusals of this network cost no query either.
      const [{ msLeft } = { msLeft: 0 }] = over
      for (const count of countsHere(attempt)) counters.block(count, msLeft)
    }
    throw tooManyAttempts(over, attempt.accountHash)
  }

  /** The user's own device. Another host of the site may have set cookies of other users beside the device's own. */
  async function findDevice({ familyIds, findUserId }: PasswordAttempt): Promise<Count | null> {
    for (const familyId of familyIds) {
      const own = { bound: device, key: familyId }
      if ((await counters.take([own])).length > 0) continue
      const [ownerId, userId] = await Promise.all([readOwner(database, familyId), findUserId()])
      if (ownerId !== null && ownerId === userId) return own
    }
    return null
  }

  /** A known network; or an account that never had a session, which could be kept out for good otherwise. */
  async function isAtHome({ findUserId, ip, isAddressShared }: PasswordAttempt): Promise<boolean> {
    const found = await findUserId()
    // An account that cannot be found is asked about all the same, so that it costs the same queries.
    const userId = found ?? nilUuid
    const [isKnownNetwork, isKnownUser] = await Promise.all([
      hasSignedInFrom(database, userId, isAddressShared ? null : ip),
      hasEverSignedIn(database, userId),
    ])
    // A caller without an address has no other limit than that of the account.
    return isKnownNetwork || (found !== null && ip !== null && !isKnownUser)
  }

  return {
    async countingPassword(attempt, check) {
      // What is refused by the queue costs no count: a count would be taken, and given back.
      const line = passwordLineOf(attempt)
      if (line !== undefined) queue.refuseIfResting(line)
      const right = rightPasswords.map((bound) => ({ bound, key: attempt.accountHash }))
      const spent = counters.known(right)
      if (spent.length > 0) throw tooManyAttempts(spent, attempt.accountHash)
      const taken = await admit(attempt)
      const isRight = await check().catch(async (error: unknown) => {
        await counters.giveBack(taken)
        throw error
      })
      if (!isRight) return false
      const over = await counters.settle({
        cleared: taken.filter(isOfCaller),
        returned: taken.filter((count) => !isOfCaller(count)),
        taken: right,
      })
      if (over.length > 0) throw tooManyAttempts(over, attempt.accountHash)
      return true
    },
  }
}

/** The widest network of a caller: its passwords wait in one line. None for an address that callers share. */
export function passwordLineOf({
  ip,
  isAddressShared,
}: Pick<PasswordAttempt, 'ip' | 'isAddressShared'>): string | undefined {
  return isAddressShared ? undefined : networksOf(ip).at(-1)
}

/** The counts of a caller's networks, each with the bound of its size. */
export function countsOf(bounds: NetworkBounds, networks: readonly string[]): Count[] {
  return bounds.flatMap((bound, i) => {
    const key = networks[i]
    return key === undefined ? [] : [{ bound, key }]
  })
}

/** None for an unknown address: its callers are counted by account alone. */
function countsHere({ ip, accountHash }: PasswordAttempt): Count[] {
  return networksOf(ip)
    .slice(0, 1)
    .map((network) => ({ bound: accountAndNetwork, key: `${accountHash}:${network}` }))
}

/** Counts the guesses of this caller for this account alone, and not those of others as well. */
function isOfCaller({ bound }: Count): boolean {
  return bound === accountAndNetwork || bound === device
}
