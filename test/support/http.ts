/** An answer as a client sees it. */
export type Answer = {
  readonly status: number
  readonly headers: Headers
  /** `result.data` of a success. */
  readonly data: any
  /** `error.data.reason` of a failure. */
  readonly reason: string | undefined
  readonly incidentId: string | undefined
  readonly body: any
}

/** `POST /auth/<procedure>` as a program sends it, without an Origin. */
export async function auth(
  url: string,
  procedure: string,
  input: unknown = {},
  headers: Record<string, string> = {},
  signal: AbortSignal | null = null,
): Promise<Answer> {
  return toAnswer(
    await fetch(`${url}/auth/${procedure}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(input),
      signal,
    }),
  )
}

/** A query of `/trpc`. */
export async function query(
  url: string,
  path: string,
  accessToken?: string,
  input?: unknown,
): Promise<Answer> {
  const search = input === undefined ? '' : `?input=${encodeURIComponent(JSON.stringify(input))}`
  return toAnswer(await fetch(`${url}/trpc/${path}${search}`, { headers: bearer(accessToken) }))
}

/** A mutation of `/trpc`. */
export async function mutate(
  url: string,
  path: string,
  accessToken?: string,
  input?: unknown,
): Promise<Answer> {
  return toAnswer(
    await fetch(`${url}/trpc/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...bearer(accessToken) },
      ...(input !== undefined && { body: JSON.stringify(input) }),
    }),
  )
}

/** The value of the refresh cookie that an answer sets; '' if it clears the cookie, null if it leaves it alone. */
export function refreshCookieIn(answer: Answer): string | null {
  const cookie = answer.headers.getSetCookie().find((line) => /refresh_token=/.test(line))
  return cookie === undefined ? null : (/refresh_token=([^;]*)/.exec(cookie)?.[1] ?? null)
}

function bearer(accessToken: string | undefined): Record<string, string> {
  return accessToken === undefined ? {} : { authorization: `Bearer ${accessToken}` }
}

async function toAnswer(response: Response): Promise<Answer> {
  const text = await response.text()
  const body = text === '' ? null : JSON.parse(text)
  return {
    status: response.status,
    headers: response.headers,
    data: body?.result?.data,
    reason: body?.error?.data?.reason,
    incidentId: body?.error?.data?.incidentId,
    body,
  }
}
