import { hash } from 'node:crypto'
import type { Statements } from './connection/connect.ts'
import type { FencedTransaction } from './connection/transaction.ts'
import { uuid, uuidOf } from './uuid.ts'

/*
 * A user has two ids. The subject is a text that the user directory chooses, and what callers, tokens and logs have. The
 * ledger's columns have a UUID. A subject that is a UUID in lower case is that UUID as it stands. Any other subject gets
 * a UUID that is derived from it, of version 8 (RFC 9562 §5.8), and `user_subject` keeps the text. So a subject that is
 * itself a UUID of version 8 is derived from like any other text, and can never be the derived id of another user.
 */

/** Characters are code points, as Postgres counts them. A lone surrogate is none, and Postgres stores no NUL. */
export const subjectPattern = /^[^\p{Control}\p{Surrogate}]{1,255}$/u

export const subjectRule = 'Must have 1 to 255 characters, none of them a control character.'

/** Whether the ledger takes it. Nothing is normalised: two subjects of different bytes are two users. */
export function isSubject(text: string): boolean {
  return subjectPattern.test(text)
}

/** Bound to the hashes of events, so it never changes. The same is in the SQL function `token_audit.user_id`. */
const derivedFrom = 'token-ledger user: '

/**
 * The id that the ledger has for the user.
 *
 * @throws {Error} for what is no subject
 */
export function ledgerIdOf(subject: string): string {
  if (uuid.test(subject) && !isDerived(subject)) return subject
  if (!isSubject(subject))
    throw new Error(`the user directory has a user id of another form: ${subjectRule}`)
  const bytes = hash('sha256', derivedFrom + subject, 'buffer').subarray(0, 16)
  bytes.writeUInt8(0x80 | (bytes.readUInt8(6) & 0x0f), 6)
  bytes.writeUInt8(0x80 | (bytes.readUInt8(8) & 0x3f), 8)
  return uuidOf(bytes.toString('hex'))
}

/** Whether an id of the ledger is derived from a text. Otherwise it is the subject as well. */
export function isDerived(ledgerId: string): boolean {
  return ledgerId[14] === '8' && /[89ab]/.test(ledgerId.charAt(19))
}

/**
 * The user of a ledger id. A directory that compares ids without regard to case may answer with a user of another id,
 * under which the ledger has no such session: that one is left out.
 *
 * @param users by ledger id; those of derived ids have been compared by `createTeamDirectory`
 */
export function ownerIn<User extends { readonly id: string }>(
  users: ReadonlyMap<string, User>,
  ledgerId: string,
): User | undefined {
  const user = users.get(ledgerId)
  return user?.id === ledgerId || isDerived(ledgerId) ? user : undefined
}

/** The subjects of these derived ids. Erased ones are missing. */
export async function readSubjects(
  { statements: sql }: Pick<Statements, 'statements'>,
  ledgerIds: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const rows = await sql<{ userId: string; subject: string }[]>`
    select user_id as "userId", subject
    from token_ledger.user_subject
    where user_id = any(${ledgerIds as string[]}::uuid[])`
  return new Map(rows.map(({ userId, subject }) => [userId, subject]))
}

/**
 * The ledger id that a filter means. A reader of lists sees a derived id where the subject was erased. So a text of that
 * form stands for itself here, unless it is the subject of a user. Acts take subjects alone: `ledgerIdOf`.
 */
export async function filteredIdOf(
  database: Pick<Statements, 'statements'>,
  text: string | undefined,
): Promise<string | undefined> {
  if (text === undefined) return undefined
  const ledgerId = ledgerIdOf(text)
  if (!isDerivedText(text)) return ledgerId
  return (await readSubjects(database, [ledgerId])).has(ledgerId) ? ledgerId : text
}

/** The subject that the text is the derived id of; undefined if there is none. */
export async function subjectBehind(
  database: Pick<Statements, 'statements'>,
  text: string,
): Promise<string | undefined> {
  return isDerivedText(text) ? (await readSubjects(database, [text])).get(text) : undefined
}

function isDerivedText(text: string): boolean {
  return uuid.test(text) && isDerived(text)
}

/** Whether the ledger ever had a user of this id: with an account or a subject, at a sign-in, or in an act. */
export async function isKnownUser(
  { statements: sql }: Pick<Statements, 'statements'>,
  ledgerId: string,
): Promise<boolean> {
  const [row] = await sql<{ isKnown: boolean }[]>`
    select
      exists (select from token_ledger.user_account where user_id = ${ledgerId}::uuid)
      or exists (select from token_ledger.user_epoch where user_id = ${ledgerId}::uuid)
      or exists (select from token_ledger.user_subject where user_id = ${ledgerId}::uuid) as "isKnown"`
  return row?.isKnown === true
}

/**
 * Keeps the subject, in the transaction that writes its ledger id.
 *
 * @returns that id
 */
export async function keepSubject(
  { tx, txid }: FencedTransaction,
  subject: string,
): Promise<string> {
  const ledgerId = ledgerIdOf(subject)
  if (isDerived(ledgerId))
    await tx`
      select token_ledger.keep_subject(${subject})
      where pg_current_xact_id()::text = ${txid}`
  return ledgerId
}
