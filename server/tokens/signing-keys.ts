import { errors, type JWK, type JWTVerifyGetKey } from 'jose'
import type { Database } from '../../db/connection/connect.ts'
import { listSigningKeys, resealSigningKey, type StoredKeys } from '../../db/signing-keys.ts'
import { assertSomeOpen, isUpkeepDue, keepKeys } from './key-changes.ts'
import { sealKey, type Secrets } from './key-seal.ts'
import {
  openKeys,
  retiresAt,
  type OpenedKey,
  type SigningKey,
  type SkippedKey,
} from './open-keys.ts'

/** How soon a process notices that a key was added, or removed in an emergency. */
const defaultReloadEveryMs = 5_000

/** An answer within this time tells the database's clock well enough. */
const exactAnswerMs = 1_000

/** Rows that one process reports at most. */
const maxReported = 100

export type SigningKeys = {
  /**
   * The database's time in epoch milliseconds, as it was when the keys were last read, and carried on by this process's
   * monotonic clock.
   */
  now(): number
  /** The key that signs now. */
  current(): SigningKey
  /** The public keys of all tokens that may still be valid, and the next key. */
  jwks(): { keys: JWK[] }
  readonly keySource: JWTVerifyGetKey
  reload(): Promise<void>
  /** How many keys are in use, and how many rows are not used. */
  counts(): { usable: number; skipped: number }
  /** Milliseconds since the keys were last read. */
  ageMs(): number
  close(): void
}

/** What goes wrong with keys while the others go on. */
export type KeyReports = {
  /** A row is not used; reported once. */
  skipped(key: SkippedKey): void
  /** The keys could not be read or changed; reported once, until they can be. */
  outdated(error: unknown): void
}

const noReports: KeyReports = { skipped() {}, outdated() {} }

type LoadedKey = OpenedKey & { readonly retiresAt: number }

/**
 * Loads the signing keys from the database, which all processes share. The first process creates the first
 * key.
 *
 * @throws {Error} if there are keys and none can be used
 */
export async function loadSigningKeys(
  database: Database,
  secrets: Secrets,
  options: { reloadEveryMs?: number; reports?: KeyReports } = {},
): Promise<SigningKeys> {
  const { reloadEveryMs = defaultReloadEveryMs, reports = noReports } = options
  let keys: readonly LoadedKey[] = []
  let skipped: readonly SkippedKey[] = []
  /** The database's time less the monotonic one of this process, which may stop while the machine sleeps. */
  let clockOffsetMs: number | null = null
  let readAt = 0
  let reloading = Promise.resolve()
  let isReloading = false
  let isUpToDate = true
  let hasUsedKeys = false
  const removedKids = new Set<string>()
  const reported = new Set<string>()

  const now = () => performance.now() + (clockOffsetMs ?? 0)
  const published = () => keys.filter((key) => key.retiresAt > now())

  /** One at a time: an older answer that came later would seem to have removed a newer key. */
  function reload(): Promise<void> {
    reloading = reloading.catch(() => {}).then(readAndUse)
    return reloading
  }

  async function readAndUse(): Promise<void> {
    const read = await readKeys()
    if (!hasUsedKeys) assertSomeOpen(read.keys, read.skipped)
    use(read)
    if (!isUpkeepDue(read.keys, read.now)) return
    await keepKeys(database, secrets, { keys, removedKids, hasUsedKeys })
    use(await readKeys())
  }

  function use(read: Awaited<ReturnType<typeof readKeys>>): void {
    const present = new Set(read.keys.map(({ kid }) => kid))
    for (const { kid } of keys) if (!present.has(kid)) removedKids.add(kid)
    keys = read.keys.map((key) => ({
      ...key,
      toReseal: null,
      retiresAt: retiresAt(key, read.keys),
    }))
    hasUsedKeys ||= keys.length > 0
    skipped = read.skipped
    readAt = performance.now()
    // A slow answer says too little about the time, unless there was none before.
    if (read.tookMs <= exactAnswerMs || clockOffsetMs === null) clockOffsetMs = read.clockOffsetMs
    skipped.forEach(reportOnce)
  }

  async function readKeys() {
    const askedAt = performance.now()
    const stored = await listSigningKeys(database.statements)
    const answeredAt = performance.now()
    const usable = stored.rows.filter(({ kid }) => !removedKids.has(kid))
    const opened = await openKeys(usable, secrets, keys)
    await resealAll(database, secrets, opened.keys)
    return {
      ...opened,
      now: stored.now,
      clockOffsetMs: stored.now - answeredAt,
      tookMs: answeredAt - askedAt,
      skipped: [...opened.skipped, ...removedIn(stored)],
    }
  }

  /** Keys that were deleted before, here or in any process, and whose rows are back. */
  function removedIn({ rows, removed }: StoredKeys): SkippedKey[] {
    const back = rows.filter(({ kid }) => removedKids.has(kid)).map(({ kid }) => kid)
    return [...back, ...removed].map((kid) => ({ kid, problem: 'it was removed before' }))
  }

  function reportOnce(key: SkippedKey): void {
    if (reported.has(key.kid) || reported.size === maxReported) return
    reported.add(key.kid)
    reports.skipped(key)
  }

  async function reloadOrReport(): Promise<void> {
    if (isReloading) return
    isReloading = true
    try {
      await reload()
      isUpToDate = true
    } catch (error) {
      // The keys in memory still work, and the next round tries again.
      if (!hasUsedKeys) throw error
      if (isUpToDate) reports.outdated(error)
      isUpToDate = false
    } finally {
      isReloading = false
    }
  }

  await reloadOrReport()
  const timer = setInterval(() => void reloadOrReport(), reloadEveryMs)
  timer.unref()

  return {
    now,
    current() {
      const at = now()
      const usable = published()
      const current = usable.findLast((key) => key.signsFromAt <= at) ?? usable[0]
      if (current === undefined) throw new Error('no signing key is loaded')
      return current
    },
    jwks: () => ({ keys: published().map(({ publicJwk }) => publicJwk) }),
    async keySource({ kid }) {
      const key = published().find((candidate) => candidate.kid === kid)
      if (key === undefined) throw new errors.JWKSNoMatchingKey()
      return key.publicKey
    },
    reload,
    counts: () => ({ usable: published().length, skipped: skipped.length }),
    ageMs: () => performance.now() - readAt,
    close: () => clearInterval(timer),
  }
}

async function resealAll(
  { statements }: Database,
  [secret]: Secrets,
  keys: readonly OpenedKey[],
): Promise<void> {
  for (const { toReseal } of keys) {
    if (toReseal === null) continue
    const { row, privateJwk } = toReseal
    const sealedPrivateKey = sealKey(secret, privateJwk, row)
    await resealSigningKey(statements, { ...row, sealedPrivateKey })
  }
}
