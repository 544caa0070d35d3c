import { and, desc, eq, lt } from 'drizzle-orm'
import type { Database } from './connect.ts'
import { auditSessions, type AuditSession } from './schema.ts'

/** One session as it is now; null when there is none. */
export async function readSession(
  { db }: Database,
  familyId: string,
): Promise<AuditSession | null> {
  const [row] = await db.select().from(auditSessions).where(eq(auditSessions.familyId, familyId))
  return row ?? null
}

/** A page of a user's active sessions, newest first, before the family `cursor`. */
export async function listActiveSessions(
  { db }: Database,
  userId: string,
  { cursor, limit }: { cursor?: string | undefined; limit: number },
): Promise<AuditSession[]> {
  return db
    .select()
    .from(auditSessions)
    .where(
      and(
        eq(auditSessions.userId, userId),
        eq(auditSessions.status, 'active'),
        cursor === undefined ? undefined : lt(auditSessions.familyId, cursor),
      ),
    )
    .orderBy(desc(auditSessions.familyId))
    .limit(limit)
}

/** Whether the user has had a session, over or not, from this address in the last 30 days. */
export async function hasSignedInFrom(
  { sql }: Database,
  userId: string,
  ip: string,
): Promise<boolean> {
  const rows = await sql`
    select
    from token_ledger.token_family f
    join token_ledger.token_event e on e.family_id = f.family_id and e.seq = 1
    where f.user_id = ${userId}::uuid
      and f.created_at > token_ledger.clock() - interval '30 days'
      and e.ip = ${ip}::inet
    limit 1`
  return rows.length > 0
}
