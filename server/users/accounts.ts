import { randomUUID } from 'node:crypto'
import type { Database } from '../../db/connection/connect.ts'
import {
  findUserByEmail,
  findUsers,
  insertUser,
  insertUserWithin,
  listUsers,
  readPasswordHash,
  replacePasswordHash,
  updateDisabled,
  updatePasswordHash,
  updateRole,
  type UserRow,
} from '../../db/users.ts'
import { uuid } from '../../db/uuid.ts'
import { fenced, inTransaction } from '../../db/connection/transaction.ts'
import { AuthError } from '../errors.ts'
import type { Passwords } from './passwords.ts'
import type { AccountStore, User, UserDirectory } from './directory.ts'

/** The directory over the table `user_account`, which is used unless the team brings its own. */
export interface OwnDirectory extends UserDirectory {
  readonly accounts: AccountStore
  /**
   * The user of a row that was read together with the ledger. A refresh needs no `findMany` then, which
   * would be a second round trip to the database.
   */
  readonly fromAccountRow: (row: UserRow) => User
}

export function createAccounts(database: Database, passwords: Passwords): OwnDirectory {
  return {
    async findByEmail(email) {
      const row = await findUserByEmail(database, email)
      return row && toUser(row)
    },
    async findMany(userIds) {
      // A text that is no UUID is the id of a user in another directory.
      const own = userIds.filter((id) => uuid.test(id))
      const users = (await findUsers(database, own)).map(toUser)
      return new Map(users.map((user) => [user.id, user]))
    },
    fromAccountRow: toUser,
    async checkPassword(user, password, network) {
      const stored = user && (await readPasswordHash(database, user.id))
      // No password is right for a disabled user. What the queue does next must not tell one from another.
      const phc = user?.disabled === true ? null : stored
      const isRight = await passwords.verify(phc, password, network)
      // The hash uses older parameters. Only now is the password available to hash it again.
      if (isRight && user !== null && phc !== null && passwords.needsRehash(phc))
        await replacePasswordHash(database, user.id, {
          from: phc,
          to: await passwords.hash(password, network),
        })
      return isRight
    },
    accounts: {
      async create({ email, password, role, network }, inSameTransaction) {
        const user: User = { id: randomUUID(), email, role, disabled: false }
        const passwordHash = await passwords.hash(password, network)
        const row = { userId: user.id, email, passwordHash, role }
        const isNew =
          inSameTransaction === undefined
            ? await insertUser(database, row)
            : await inTransaction(database.transactions, async (tx) => {
                const fencedTx = await fenced(tx)
                const isInserted = await insertUserWithin(fencedTx, row)
                if (isInserted) await inSameTransaction(fencedTx, user)
                return isInserted
              })
        if (!isNew) throw new AuthError('email_taken', 'the canonical address has an account')
        return user
      },
      hashPassword: (password, network) => passwords.hash(password, network),
      setPasswordHash: updatePasswordHash,
      setDisabled: updateDisabled,
      setRole: updateRole,
      async list(filter, page) {
        const rows = await listUsers(database.questions, filter, page)
        return rows.map((row) => ({
          ...toUser(row),
          createdAt: new Date(row.createdAt).toISOString(),
        }))
      },
    },
  }
}

function toUser({ userId, email, role, disabledAt }: UserRow): User {
  return { id: userId, email: email ?? '', role, disabled: disabledAt !== null }
}
