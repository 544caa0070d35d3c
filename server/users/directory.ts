import type { FencedTransaction } from '../../db/connection/transaction.ts'

export type Role = 'user' | 'admin'

export type User = {
  /** A UUID; the `sub` of the access token and the `user_id` of the ledger. */
  readonly id: string
  readonly email: string
  readonly role: Role
  readonly disabled: boolean
}

/**
 * Who the users are. A team with its own users table implements these three functions and hands them
 * to `buildApp({ users })`; the ledger refers to users by id alone.
 */
export interface UserDirectory {
  /** @param email canonical: ASCII, lower case */
  findByEmail(email: string): Promise<User | null>
  /**
   * Users as they are now; who is gone is missing. Called once for a batch of refreshes, so that a
   * new role or address is in the very next access token.
   */
  findMany(userIds: readonly string[]): Promise<ReadonlyMap<string, User>>
  /**
   * Reads the password's hash afresh and compares. For `null`, an unknown user, it takes the same
   * time and answers false.
   */
  checkPassword(user: User | null, password: string): Promise<boolean>
  /** What our own directory can do besides; without it those procedures answer `not_found`. */
  readonly accounts?: AccountStore
}

/** Changes to users. Those that end sessions take part in the transaction that ends them. */
export interface AccountStore {
  /**
   * @param inSameTransaction what happens with it or not at all
   * @throws {AuthError} `email_taken`
   */
  create(
    account: { email: string; password: string; role: Role },
    inSameTransaction?: (within: FencedTransaction, user: User) => Promise<void>,
  ): Promise<User>
  hashPassword(password: string): Promise<string>
  setPasswordHash(within: FencedTransaction, userId: string, passwordHash: string): Promise<void>
  /** @throws an error of SQLSTATE TL003 when it is the last admin */
  setDisabled(within: FencedTransaction, userId: string, disabled: boolean): Promise<void>
  /** @throws an error of SQLSTATE TL003 when it is the last admin */
  setRole(within: FencedTransaction, userId: string, role: Role): Promise<void>
  /** Users in the order of their addresses, after the address `cursor`; the erased are left out. */
  list(
    filter: { emailPrefix?: string | undefined },
    page: { cursor?: string | undefined; limit: number },
  ): Promise<readonly ListedUser[]>
}

export type ListedUser = User & { readonly createdAt: string }
