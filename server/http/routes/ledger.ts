import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { AuthError } from '../../errors.ts'
import { ProofError } from '../../evidence/merkle.ts'
import { CheckpointRefused } from '../../evidence/sign-checkpoints.ts'
import { readStoredEntries, readStoredTile } from '../../evidence/stored-tiles.ts'
import { parseTilePath } from '../../evidence/tiles.ts'
import type { ServiceDeps } from '../../procedures/deps.ts'
import { hasSharedToken } from '../shared-token.ts'

/**
 * `GET /ledger/checkpoint` and `GET /ledger/tile/…` (C2SP tlog-tiles): what an outsider needs to check the ledger. The
 * routes exist only if `LEDGER_PUBLIC` or `LEDGER_TOKEN` is set.
 */
export function mountLedger(
  app: FastifyInstance,
  deps: Pick<ServiceDeps, 'config' | 'database' | 'checkpoints'>,
): void {
  const { ledgerToken, isLedgerPublic } = deps.config
  if (!isLedgerPublic && ledgerToken === undefined) return
  const database = deps.database.questions

  function admit(request: FastifyRequest): void {
    if (isLedgerPublic || hasSharedToken(request, ledgerToken)) return
    throw new AuthError('not_found', 'neither LEDGER_PUBLIC nor LEDGER_TOKEN')
  }

  app.get('/ledger/checkpoint', async (request, reply) => {
    admit(request)
    return reply
      .header('cache-control', 'no-store')
      .type('text/plain; charset=utf-8')
      .send(await newest())
  })

  app.get<{ Params: { '*': string } }>('/ledger/tile/*', async (request, reply) => {
    admit(request)
    const asked = parseTilePath(`tile/${request.params['*']}`)
    if (asked === null) throw new AuthError('not_found', 'no such tile')
    return send(
      reply,
      'entries' in asked
        ? readStoredEntries(database, asked.entries)
        : readStoredTile(database, asked),
    )
  })

  async function newest(): Promise<string> {
    try {
      return (await deps.checkpoints.current()).note
    } catch (error) {
      if (!(error instanceof CheckpointRefused)) throw error
      throw new AuthError('service_unavailable', error.message)
    }
  }

  /** The hashes in a tile never change, even where the tile is not full: a fuller one has another address. */
  async function send(reply: FastifyReply, bytes: Promise<Buffer>): Promise<FastifyReply> {
    try {
      const body = await bytes
      const who = isLedgerPublic ? 'public' : 'private'
      return await reply
        .header('cache-control', `${who}, max-age=31536000, immutable`)
        .type('application/octet-stream')
        .send(body)
    } catch (error) {
      if (!(error instanceof ProofError)) throw error
      throw new AuthError('not_found', error.message)
    }
  }
}
