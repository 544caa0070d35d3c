import { authUrl } from '$lib/server/session.ts'
import type { PageServerLoad } from './$types'

type Listed = { familyId: string; createdAt: string; userAgent: string | null }

/** The devices on which the person is signed in; null when they cannot be had for now. */
export const load: PageServerLoad = async ({ locals, fetch, depends }) => {
  depends('app:sessions')
  const { user, accessToken } = locals.session
  if (user === null) return { owner: null, at: null, sessions: null }
  const response = await fetch(`${authUrl}/trpc/sessions.list`, {
    headers: { authorization: `Bearer ${accessToken}` },
  }).catch(() => null)
  if (response === null || !response.ok) return { owner: user.id, at: null, sessions: null }
  const { result } = (await response.json()) as { result: { data: { items: readonly Listed[] } } }
  return { owner: user.id, at: new Date().toISOString(), sessions: result.data.items }
}
