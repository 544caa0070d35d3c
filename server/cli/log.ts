import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { insertAdminAction } from '../../db/audit/admin-actions.ts'
import type { Database } from '../../db/connection/connect.ts'
import { fenced, inTransaction } from '../../db/connection/transaction.ts'
import { overruledReason } from '../../db/evidence/checkpoints.ts'
import { appendLeaves, findLeaf } from '../../db/evidence/log.ts'
import type { Config } from '../config/config.ts'
import { readLastCheckpoint } from '../config/last-checkpoint.ts'
import { readUnsigned, type Checkpoint } from '../evidence/checkpoint.ts'
import { proveInclusion } from '../evidence/merkle.ts'
import { formatProofFile, parseProofFile, verifyProofFile } from '../evidence/proof-file.ts'
import { publishLog } from '../evidence/publish.ts'
import {
  CheckpointRefused,
  createCheckpointSigner,
  logOriginOf,
  verifierKeysOf,
  type LogIdentity,
  type SignedCheckpoint,
} from '../evidence/sign-checkpoints.ts'
import { formatVerifierKey, parseVerifierKey, type VerifierKey } from '../evidence/signed-note.ts'
import { storedSubtrees } from '../evidence/stored-tiles.ts'
import { createWitness } from '../evidence/witness.ts'
import { addLogKey, loadLogKeys } from '../tokens/log-keys.ts'
import { exactlyOne, familyIdArgument, reasonArgument } from './arguments.ts'
import { UsageError, type Command, type ReadConfig } from './command.ts'
import { asService, withDatabase } from './database.ts'
import { pluralize } from './output.ts'
import { loadSecrets } from './secrets.ts'

export const ledgerCheckpoint: Command = {
  usage: '[--overrule FILE --reason R]',
  summary:
    'prints a signed checkpoint of the log; exit 1 if the log does not continue an earlier one',
  async run(args, readConfig) {
    const { values } = parseArgs({
      args: [...args],
      options: { overrule: { type: 'string' }, reason: { type: 'string' } },
    })
    const { overrule } = values
    if (overrule !== undefined) {
      const reason = reasonArgument(values.reason)
      const overruled = readFile(overrule)
      return withLog(readConfig, async ({ database, identity }) => {
        const checkpoint = readUnsigned(overruled, identity.origin)
        await overruleCheckpoint(database, checkpoint, reason)
        console.error('the checkpoint does not count any more')
        return 0
      })
    }
    return withCheckpoint(readConfig, async (_database, { note }) => {
      process.stdout.write(note)
      return 0
    })
  },
}

export const ledgerPublish: Command = {
  usage: '--to DIR',
  summary: 'writes the log as files that outsiders can check: tiles, entries and a checkpoint',
  async run(args, readConfig) {
    const { values } = parseArgs({ args: [...args], options: { to: { type: 'string' } } })
    const folder = values.to
    if (folder === undefined) throw new UsageError('--to is required')
    return withCheckpoint(readConfig, async (database, checkpoint) => {
      const written = await publishLog(database, checkpoint, folder)
      console.error(`${pluralize(written, 'file')} written, ${checkpoint.size} leaves`)
      return 0
    })
  },
}

export const ledgerProve: Command = {
  usage: 'FAMILY_ID[:SEQ]',
  summary: 'prints a proof that an event is in the log: of the last event, or of SEQ',
  async run(args, readConfig) {
    const { positionals } = parseArgs({ args: [...args], allowPositionals: true, options: {} })
    const [id = '', seqText] = exactlyOne(positionals, 'family id').split(':')
    const familyId = familyIdArgument(id)
    if (seqText !== undefined && !/^[1-9]\d{0,8}$/.test(seqText))
      throw new UsageError(`not the number of an event: ${JSON.stringify(seqText)}`)
    return withCheckpoint(readConfig, async (database, { size, note }) => {
      const leaf = await findLeaf(database, {
        familyId,
        seq: seqText === undefined ? null : Number(seqText),
      })
      if (leaf === null || leaf.leafIndex >= size) {
        console.error('the log has no such event')
        return 1
      }
      const { leafIndex: index, hash: entry } = leaf
      const hashes = await proveInclusion(index, size, storedSubtrees(database, size))
      process.stdout.write(formatProofFile({ index, entry, hashes, checkpoint: note }))
      return 0
    })
  },
}

export const ledgerVerifyProof: Command = {
  usage: 'FILE --key VKEY',
  summary: 'checks a proof without a database; exit 1 if it does not hold',
  async run(args) {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { key: { type: 'string' } },
    })
    const key = keyArgument(values.key)
    const file = readFile(exactlyOne(positionals, 'file'))
    const { entry, index } = parseProofFile(file)
    if (entry === undefined) throw new UsageError('the proof does not carry its entry')
    const { origin, size } = verifyProofFile(entry, file, [key])
    console.log(`${entry.toString('hex')} is leaf ${index} of ${size} in ${origin}`)
    return 0
  },
}

export const keysLog: Command = {
  usage: '[--add]',
  summary:
    'prints the verifier keys of the log, which outsiders check checkpoints with; --add makes one more, which signs as well',
  async run(args, readConfig) {
    const { values } = parseArgs({
      args: [...args],
      options: { add: { type: 'boolean', default: false } },
    })
    if (values.add) {
      const config = readConfig('secret')
      await withDatabase(config, asService, (database) => addLogKey(database, loadSecrets(config)))
    }
    return withLog(readConfig, async ({ identity }) => {
      for (const key of verifierKeysOf(identity)) console.log(formatVerifierKey(key))
      return 0
    })
  },
}

/** @throws {UsageError} without a key, or if it is none */
export function keyArgument(text: string | undefined): VerifierKey {
  if (text === undefined) throw new UsageError('--key is required: what `keys log` prints')
  return parseVerifierKey(text)
}

/** @throws {UsageError} when the file cannot be read */
export function readFile(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    throw new UsageError(`cannot read ${JSON.stringify(file)}`)
  }
}

type Log = {
  readonly database: Database
  readonly identity: LogIdentity
  readonly config: Config
}

function withLog(readConfig: ReadConfig, work: (log: Log) => Promise<number>): Promise<number> {
  const config = readConfig('secret')
  return withDatabase(config, asService, async (database) => {
    const { privateKeys, lockedKids } = await loadLogKeys(database, loadSecrets(config))
    const [privateKey, ...addedKeys] = privateKeys
    if (privateKey === undefined)
      throw new Error('AUTH_SECRET cannot decrypt the key of the log, or its row was changed')
    if (lockedKids.length > 0)
      console.error(`AUTH_SECRET cannot decrypt ${pluralize(lockedKids.length, 'key')} of the log`)
    const origin = logOriginOf(config.publicUrl)
    return work({ database, identity: { origin, privateKey, addedKeys }, config })
  })
}

/** Signs a checkpoint of everything that is final by now. */
function withCheckpoint(
  readConfig: ReadConfig,
  work: (database: Database, checkpoint: SignedCheckpoint) => Promise<number>,
): Promise<number> {
  return withLog(readConfig, async ({ database, identity, config }) => {
    const shown = readLastCheckpoint(config.lastCheckpoint)
    while (((await appendLeaves(database)) ?? 0) > 0);
    try {
      const signer = createCheckpointSigner(database, identity, {
        shown,
        witness: config.witness ? createWitness(config.witness) : null,
        onUnwitnessed: ({ message }) =>
          console.error(`the checkpoint has no cosignature: ${message}`),
      })
      return await work(database, await signer.current())
    } catch (error) {
      if (!(error instanceof CheckpointRefused)) throw error
      console.error(`no checkpoint is signed: ${error.message}`)
      return 1
    }
  })
}

/** Records that the operator knows why the log does not continue this checkpoint. */
async function overruleCheckpoint(
  { transactions }: Database,
  checkpoint: Checkpoint,
  reason: string,
): Promise<void> {
  await inTransaction(transactions, async (tx) =>
    insertAdminAction(await fenced(tx), {
      action: 'checkpoint_overruled',
      actorUserId: null,
      reason: `${overruledReason(checkpoint)}${reason}`.slice(0, 500),
    }),
  )
}
