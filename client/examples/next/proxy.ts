import { NextResponse } from 'next/server'
import { session } from './session.ts'

/** Renews the session where a cookie can be set: before anything is rendered. */
export async function proxy(request: Request): Promise<Response> {
  const current = await session.from(request)
  const headers = new Headers(request.headers)
  headers.set('cookie', current.cookieHeader) // for what renders this request
  return session.apply(NextResponse.next({ request: { headers } }), current)
}

export const config = { matcher: '/((?!auth/|_next/|favicon).*)' }
