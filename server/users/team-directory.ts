import { isDerived, ownerIn } from '../../db/subjects.ts'
import type { OwnDirectory } from './accounts.ts'
import type { User, UserDirectory } from './directory.ts'
import type { Subjects } from './subjects.ts'

/** A directory of a team's own, which can be asked by the ledger's ids. */
export interface TeamDirectory extends UserDirectory {
  /** By ledger id, as `findMany` does it by the directory's own. Erased users are missing. */
  findOwners(ledgerIds: readonly string[]): Promise<ReadonlyMap<string, User>>
}

export function createTeamDirectory(users: UserDirectory, subjects: Subjects): TeamDirectory {
  async function findBySubject(ledgerIds: readonly string[]): Promise<ReadonlyMap<string, User>> {
    const texts = await subjects.of(ledgerIds)
    const asked = ledgerIds.flatMap((id) => {
      const subject = isDerived(id) ? texts.get(id) : id
      return subject === undefined ? [] : [{ id, subject }]
    })
    const found = await users.findMany(asked.map(({ subject }) => subject))
    return new Map(
      asked.flatMap(({ id, subject }) => {
        const user = exactly(subject, found)
        return user === undefined ? [] : [[id, user] as const]
      }),
    )
  }

  return {
    findByEmail: (email) => users.findByEmail(email),
    findMany: (userIds) => users.findMany(userIds),
    checkPassword: (user, password, network) => users.checkPassword(user, password, network),
    ...(users.accounts && { accounts: users.accounts }),
    // Ids that stand for themselves cost a refresh nothing more.
    findOwners: (ledgerIds) =>
      ledgerIds.some(isDerived) ? findBySubject(ledgerIds) : users.findMany(ledgerIds),
  }
}

/** Undefined for an id of which the directory has another spelling. */
function exactly(id: string, found: ReadonlyMap<string, User>): User | undefined {
  const user = found.get(id)
  return user?.id === id ? user : undefined
}

/** The user of this subject; undefined for one whom the directory does not have under exactly this id. */
export async function findUser(
  directory: Pick<UserDirectory, 'findMany'>,
  subject: string,
): Promise<User | undefined> {
  return exactly(subject, await directory.findMany([subject]))
}

/** The user of this ledger id. */
export async function findOwner(
  directory: OwnDirectory | TeamDirectory,
  ledgerId: string,
): Promise<User | undefined> {
  const found =
    'findOwners' in directory
      ? await directory.findOwners([ledgerId])
      : await directory.findMany([ledgerId])
  return ownerIn(found, ledgerId)
}
