import { createHash } from 'node:crypto'
import { maxMethods, maxReplays, methodPattern } from './events.ts'
import type { EventRecord, FamilyRecord } from './record.ts'

/**
 * The first wrong event of a family. SQL's `verify_family` reports the same problems in the same words, except what the
 * text of an export cannot have: a part of a millisecond has another hash here, and methods are joined by spaces.
 */
export type ChainProblem = { readonly seq: number; readonly problem: string }

/** As in SQL's `event_hash_of`. A version stands for exactly one list of fields. */
const version1 = 'token-ledger/v1'
/** With `methods` and `authenticatedAt`. */
const version2 = 'token-ledger/v2'

/** 2000-01-01, the epoch of Postgres timestamps. */
const postgresEpochMs = 946_684_800_000

const noPrevHash = Buffer.alloc(32)

/** The hash the event must have. It covers `prevHash`, the hash of the event before it. */
export function eventHash(e: EventRecord): string {
  const fields = [
    text(e.kind),
    int(e.generation),
    instant(e.occurredAt),
    instant(e.expiresAt),
    instant(e.absoluteExpiresAt),
    uuid(e.userId),
    text(e.transport),
    hex(e.tokenHash),
    hex(e.salt),
    hex(e.attemptHash),
    int(e.presentedGeneration),
    text(e.reason),
    uuid(e.actorUserId),
    hex(e.originHash),
  ]
  const { methods, authenticatedAt } = authenticationOf(e)
  const isSecond = methods !== null || authenticatedAt !== null
  if (isSecond) fields.push(text(methods?.join(' ') ?? null), instant(authenticatedAt))
  const hash = createHash('sha256')
  hash.update(text(isSecond ? version2 : version1))
  hash.update(uuid(e.familyId))
  hash.update(int(e.seq))
  hash.update(hex(e.prevHash) ?? noPrevHash)
  for (const value of fields) hash.update(field(value))
  return hash.digest('hex')
}

/** Missing in an export of version 1, which is the same as null. */
function authenticationOf({ methods = null, authenticatedAt = null }: EventRecord) {
  return { methods, authenticatedAt }
}

/** The value `originHash` must have, unless the IP address and the user agent were erased. */
export function originHash(e: EventRecord): string {
  const hash = createHash('sha256')
  for (const value of [hex(e.originSalt), text(e.ip), text(e.userAgent)]) hash.update(field(value))
  return hash.digest('hex')
}

/**
 * Checks one family's events in order: their hashes, and whether the rules allow each event after the one
 * before.
 *
 * @returns null if everything is correct
 */
export function checkFamily(
  family: FamilyRecord | null,
  events: readonly EventRecord[],
): ChainProblem | null {
  const [first] = events
  if (first === undefined) return { seq: 1, problem: 'event 1 is missing' }
  let tokenEvent: EventRecord | null = null
  for (const [i, event] of events.entries()) {
    const before = events[i - 1] ?? null
    const expected = (before?.seq ?? 0) + 1
    if (event.seq !== expected)
      return { seq: Math.min(event.seq, expected), problem: `event ${expected} is missing` }
    const problem =
      linkProblem(event, before) ??
      historyProblem(event, before, first) ??
      authenticationProblem(event, tokenEvent) ??
      timeProblem(event, before, tokenEvent) ??
      (before === null ? familyProblem(event, family) : null)
    if (problem !== null) return { seq: event.seq, problem }
    if (event.kind === 'issued' || isSuccession(event)) tokenEvent = event
  }
  return null
}

function isSuccession({ kind }: EventRecord): boolean {
  return kind === 'rotated' || kind === 'reauthenticated'
}

function linkProblem(e: EventRecord, before: EventRecord | null): string | null {
  if (e.prevHash !== (before?.hash ?? null))
    return before === null
      ? 'prev_hash of the first event is not empty'
      : `prev_hash is not the hash of event ${before.seq}`
  if (e.hash !== eventHash(e)) return 'the hash does not match the content'
  if (e.originSalt === null)
    return e.ip === null && e.userAgent === null ? null : 'ip or user_agent without their salt'
  return e.originHash === originHash(e) ? null : 'ip or user_agent do not match their hash'
}

function historyProblem(
  e: EventRecord,
  before: EventRecord | null,
  first: EventRecord,
): string | null {
  if (before === null) {
    if (e.kind !== 'issued') return `it begins with ${e.kind}`
    return e.generation === 0 ? null : `it begins with generation ${e.generation}`
  }
  if (before.kind === 'revoked' || before.kind === 'reuse_detected')
    return `${e.kind} after the family was over`
  if (e.kind === 'issued') return 'it is issued twice'
  if (isSuccession(e) && e.generation !== before.generation + 1)
    return `generation ${e.generation} follows ${before.generation}`
  if (!isSuccession(e) && e.generation !== before.generation)
    return `${e.kind} changes the generation`
  const isParent = e.presentedGeneration === e.generation - 1
  if (e.kind === 'replayed' && e.reason === 'grace_window' && !isParent)
    return 'replayed in the grace window, but not the direct predecessor'
  const isSpent = e.presentedGeneration !== null && e.presentedGeneration < e.generation
  if (e.kind === 'replayed' && !isSpent) return 'the token that was replayed was not spent'
  if (e.kind === 'reuse_detected' && !isSpent) return 'the token that came back was not spent'
  if (Date.parse(e.occurredAt) < Date.parse(before.occurredAt))
    return 'it comes before the event before it'
  return isSuccession(e) && e.absoluteExpiresAt !== first.absoluteExpiresAt
    ? 'the end of the family moved'
    : null
}

/** @param token the newest event before `e` that made a token */
function authenticationProblem(e: EventRecord, token: EventRecord | null): string | null {
  const isOfGrace = e.kind === 'replayed' && e.reason === 'grace_window'
  if (isOfGrace && token?.kind === 'reauthenticated')
    return 'replayed in the grace window, but a reauthentication leaves none'
  const { methods, authenticatedAt } = authenticationOf(e)
  if (methods === null && authenticatedAt === null)
    return e.kind === 'reauthenticated' ? malformed : null
  if (e.kind === 'rotated') {
    const before = token && authenticationOf(token)
    const isSame =
      methods?.join(' ') === before?.methods?.join(' ') &&
      authenticatedAt === before?.authenticatedAt
    return isSame ? null : 'a rotation changes the authentication'
  }
  if (methods === null || authenticatedAt === null) return malformed
  const isWellFormed =
    methods.length >= 1 &&
    methods.length <= maxMethods &&
    methods.every((method) => methodPattern.test(method)) &&
    Date.parse(authenticatedAt) <= Date.parse(e.occurredAt) &&
    Date.parse(authenticatedAt) >= 0
  return isWellFormed ? null : malformed
}

const malformed = 'its authentication is malformed'

function timeProblem(
  e: EventRecord,
  before: EventRecord | null,
  tokenEvent: EventRecord | null,
): string | null {
  if (e.expiresAt !== null && e.absoluteExpiresAt !== null)
    if (Date.parse(e.expiresAt) > Date.parse(e.absoluteExpiresAt))
      return 'the token outlives the family'
  if (tokenEvent?.expiresAt && Date.parse(e.occurredAt) >= Date.parse(tokenEvent.expiresAt))
    return `${e.kind} after the token had expired`
  if (e.kind === 'replayed' && tokenEvent !== null && e.seq - tokenEvent.seq > maxReplays)
    return `replayed more than ${maxReplays} times`
  return before !== null && BigInt(e.txid) < BigInt(before.txid)
    ? 'its transaction is older than the one before'
    : null
}

function familyProblem(issued: EventRecord, family: FamilyRecord | null): string | null {
  if (family === null) return 'the family row is missing'
  const isSame =
    family.userId === issued.userId &&
    family.transport === issued.transport &&
    family.createdAt === issued.occurredAt &&
    family.absoluteExpiresAt === issued.absoluteExpiresAt
  return isSame ? null : 'the family row differs from the first event'
}

/** Its length, then its bytes; -1 for null. Different lists of values never give the same bytes. */
function field(value: Buffer | null): Buffer {
  return value === null ? int(-1) : Buffer.concat([int(value.length), value])
}

function text(value: string): Buffer
function text(value: string | null): Buffer | null
function text(value: string | null): Buffer | null {
  return value === null ? null : Buffer.from(value, 'utf8')
}

function hex(value: string | null): Buffer | null {
  return value === null ? null : Buffer.from(value, 'hex')
}

function uuid(value: string): Buffer
function uuid(value: string | null): Buffer | null
function uuid(value: string | null): Buffer | null {
  return value === null ? null : Buffer.from(value.replaceAll('-', ''), 'hex')
}

function int(value: number): Buffer
function int(value: number | null): Buffer | null
function int(value: number | null): Buffer | null {
  if (value === null) return null
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

function instant(value: string | null): Buffer | null {
  if (value === null) return null
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(BigInt(Date.parse(value) - postgresEpochMs) * 1000n)
  return bytes
}
