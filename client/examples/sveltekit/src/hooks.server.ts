import type { Handle } from '@sveltejs/kit'
import { session } from '$lib/server/session.ts'

export const handle: Handle = async ({ event, resolve }) => {
  // The client in the page.
  if (event.url.pathname.startsWith('/auth/')) return session.handle(event.request)
  const current = await session.from(event.request)
  event.locals.session = current
  return session.apply(await resolve(event), current)
}
