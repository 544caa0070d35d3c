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
