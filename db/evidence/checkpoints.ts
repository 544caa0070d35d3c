import { epochMs, instantParam } from '../instant.ts'
import type { LogDatabase } from './log.ts'

/** A checkpoint that was signed: only what its note says counts. */
export type StoredCheckpoint = {
  readonly size: number
  readonly note: string
  /** Epoch milliseconds. */
  readonly signedAt: number
}

/** Of the largest tree, the newest first. */
export async function readCheckpoints(
  { statements: sql }: LogDatabase,
  limit: number,
): Promise<StoredCheckpoint[]> {
  return sql<StoredCheckpoint[]>`
    select size::float8 as size, note, ${epochMs(sql, 'signed_at')} as "signedAt"
    from token_ledger.log_checkpoint
    order by size desc, signed_at desc, checkpoint_id
    limit ${limit}`
}

/** A checkpoint as people read it. */
export type ListedCheckpoint = StoredCheckpoint & {
  readonly checkpointId: string
  /** SHA-256 in base64. */
  readonly root: string
}

/** The place of a checkpoint in the list. */
export type CheckpointCursor = {
  readonly size: number
  readonly signedAt: number
  readonly id: string
}

/** A page of checkpoints, of the largest tree first, after `cursor`. */
export async function listCheckpoints(
  { statements: sql }: LogDatabase,
  { cursor, limit }: { cursor?: CheckpointCursor | undefined; limit: number },
): Promise<ListedCheckpoint[]> {
  return sql<ListedCheckpoint[]>`
    select
      checkpoint_id as "checkpointId", size::float8 as size, encode(root, 'base64') as root, note,
      ${epochMs(sql, 'signed_at')} as "signedAt"
    from token_ledger.log_checkpoint
    where true
      ${
        cursor === undefined
          ? sql``
          : sql`and (size, signed_at, checkpoint_id)
              < (${cursor.size}::bigint, ${instantParam(cursor.signedAt)}::timestamptz, ${cursor.id}::uuid)`
      }
    order by size desc, signed_at desc, checkpoint_id desc
    limit ${limit}`
}

/** @returns it with the moment at which it was stored */
export async function insertCheckpoint(
  { statements: sql }: LogDatabase,
  { size, root, note }: { size: number; root: Buffer; note: string },
): Promise<StoredCheckpoint> {
  const [stored] = await sql<StoredCheckpoint[]>`
    insert into token_ledger.log_checkpoint (size, root, note)
    values (${size}::bigint, ${root}, ${note})
    returning size::float8 as size, note, ${epochMs(sql, 'signed_at')} as "signedAt"`
  if (stored === undefined) throw new Error('the checkpoint was not stored')
  return stored
}

/** Whether an operator has decided that this checkpoint does not count: see `overruledReason`. */
export async function isOverruled(
  { statements: sql }: LogDatabase,
  checkpoint: { size: number; root: Buffer },
): Promise<boolean> {
  const found = await sql`
    select
    from token_ledger.admin_action
    where action = 'checkpoint_overruled' and starts_with(reason, ${overruledReason(checkpoint)})`
  return found.length > 0
}

/** How the reason of the admin action `checkpoint_overruled` begins. */
export function overruledReason({ size, root }: { size: number; root: Buffer }): string {
  return `${size} ${root.toString('base64')}: `
}
