import type { FencedTransaction } from '../../db/connection/transaction.ts'

export type Role = 'user' | 'admin'

export type User = {
  /**
   * Any text of 1 to 255 characters without control characters, compared byte for byte: the `sub` of the access token. A
   * UUID in lower case is the `user_id` of the ledger as well; from any other text the ledger derives one.
   */
  readonly id: string
  readonly email: string
  readonly role: Role
  readonly disabled: boolean
  /** Whether the address is known to be the user's. False unless given: the service itself sends no mail. */
  readonly emailVerified?: boolean | undefined
}

/**
 * Where users come from. A team with its own users table implements `findByEmail`, `findMany` and
 * `checkPassword`, and passes them to `buildApp({ users })`. The ledger refers to users only by id.
 */
export interface UserDirectory {
  /** @param email canonical: ASCII, lower case */
  findByEmail(email: string): Promise<User | null>
  /**
   * The users as they are now, by the very ids that are asked for. Deleted users are missing. Called once for each batch of refreshes,
   * so that the next access token has a new role or address.
   */
  findMany(userIds: readonly string[]): Promise<ReadonlyMap<string, User>>
  /**
   * Reads the password hash and compares. For `null`, an unknown user, it must take the same time and
   * return false.
   *
   * @param network where the caller comes from, for a queue that serves networks in turn; the own directory's does
   */
  checkPassword(user: User | null, password: string, network?: string): Promise<boolean>
  /**
   * Changes to users. Without it `register` answers `registration_closed`, and procedures that change users
   * answer `not_found`.
   */
  readonly accounts?: AccountStore
}

/** Changes to users. Those that come with the end of sessions are written in the same transaction. */
export interface AccountStore {
  /**
   * @param inSameTransaction further writes, committed together with the new user
   * @throws {AuthError} `email_taken`
   */
  create(
    account: { email: string; password: string; role: Role; network?: string | undefined },
    inSameTransaction?: (fenced: FencedTransaction, user: User) => Promise<void>,
  ): Promise<User>
  hashPassword(password: string, network?: string): Promise<string>
  setPasswordHash(fenced: FencedTransaction, userId: string, passwordHash: string): Promise<void>
  /** @throws an error with SQLSTATE TL003 for the last admin */
  setDisabled(fenced: FencedTransaction, userId: string, disabled: boolean): Promise<void>
  /** @throws an error with SQLSTATE TL003 for the last admin */
  setRole(fenced: FencedTransaction, userId: string, role: Role): Promise<void>
  /** Users sorted by address, after the address `cursor`. Erased users are left out. */
  list(
    filter: { emailPrefix?: string | undefined },
    page: { cursor?: string | undefined; limit: number },
  ): Promise<readonly ListedUser[]>
}

export type ListedUser = User & { readonly createdAt: string }
