import { PassThrough, type Readable } from 'node:stream'
import { z } from 'zod'
import { readLedger } from '../../../db/audit/export.ts'
import { ledgerIdOf } from '../../../db/subjects.ts'
import { writeExport } from '../../audit/write-export.ts'
import { AuthError } from '../../errors.ts'
import type { Caller } from '../../../db/ledger/event-rows.ts'
import type { Bearer } from '../bearer.ts'
import type { ServiceDeps } from '../deps.ts'
import { instant } from '../input.ts'
import { mustStillBeAdmin } from '../standing.ts'

const period = z.strictObject({ from: instant.optional(), to: instant.optional() })

/** Records between two questions whether the caller is still an admin. */
const askEvery = 5_000

/**
 * `askMs`: the caller's standing is asked so often as well, however slowly the records go.
 * `drainMs`: a caller who takes nothing for as long has left, as far as the process can know.
 */
const usualTimes = { askMs: 10_000, drainMs: 30_000 }

/**
 * The export that `token-ledger ledger export` writes, read as fast as the caller takes it. It ends when the access token
 * expires, when the caller is no admin any more, and when the caller stalls, because it holds a connection and a snapshot
 * meanwhile. A stream that is destroyed lacks its last record, which says that it is whole.
 *
 * @param call.signal aborted when the caller leaves
 * @throws {AuthError} before the first byte; `too_many_attempts` while another export or verification runs
 */
export async function exportLedger(
  deps: ServiceDeps,
  call: { bearer: Bearer; caller: Caller; query: unknown; signal: AbortSignal },
  { askMs, drainMs } = usualTimes,
): Promise<Readable> {
  const session = await call.bearer.claims()
  await call.bearer.mustBeAdmin()
  const parsed = period.safeParse(call.query)
  if (!parsed.success) throw new AuthError('validation_failed', 'not a period of two instants')
  deps.logSecurityEvent({
    event: 'admin_called',
    procedure: 'ledger.export',
    actorUserId: ledgerIdOf(session.userId),
    ip: call.caller.ip,
  })
  const { from = null, to = null } = parsed.data
  const sql = deps.database.questions.statements
  const mustStill = () => mustStillBeAdmin(deps, session, 'the export')
  const release = deps.longReads.take()
  const refused = new AbortController()
  const signal = AbortSignal.any([call.signal, refused.signal])
  const asking = setInterval(() => {
    mustStill().catch((error: unknown) => refused.abort(error))
  }, askMs)
  const out = new PassThrough()
  let records = 0
  const source = {
    period: { fromAt: from, toAt: to },
    signal,
    drainMs,
    read: (take: Parameters<typeof readLedger>[2]) =>
      readLedger(sql, source.period, async (record) => {
        signal.throwIfAborted()
        records += 1
        if (records % askEvery === 0) await mustStill()
        await take(record)
      }),
  }
  writeExport(out, source)
    .then(
      () => out.end(),
      (error: unknown) => {
        const cause: unknown = signal.aborted ? signal.reason : error
        out.destroy(cause instanceof Error ? cause : new Error('failed'))
      },
    )
    .finally(() => {
      clearInterval(asking)
      release()
    })
    .catch(() => {})
  return out
}
