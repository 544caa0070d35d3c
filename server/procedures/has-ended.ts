import { readSession } from '../../db/audit/sessions.ts'
import type { ServiceDeps } from './deps.ts'

/** Whether the session is over or unknown. Asks the database only if this process does not know. */
export async function hasEnded(
  { database, endedSessions }: Pick<ServiceDeps, 'database' | 'endedSessions'>,
  familyId: string,
): Promise<boolean> {
  const state = endedSessions.stateOf(familyId)
  if (state !== 'unknown') return state === 'ended'
  const session = await readSession(database, familyId)
  return session?.status !== 'active'
}
