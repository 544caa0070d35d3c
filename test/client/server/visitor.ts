import type { Current, SignOut } from '../../../client/server/index.ts'
import { testPassword } from '../../support/users.ts'

type Answer<Body> = {
  readonly body: Body
  readonly headers: Headers
  readonly setCookies: readonly string[]
}

const person = { 'x-real-ip': '198.51.100.9', 'user-agent': "Ada's browser" }

/** The browser of a person: one cookie, which an answer replaces unless it is lost on the way. */
export type Visitor = ReturnType<typeof openVisitor>

export function openVisitor() {
  let cookie = ''
  const headers = () => ({ ...person, cookie })

  async function ask<Body>(
    url: string,
    init: { method?: string; body?: string } = {},
  ): Promise<Answer<Body>> {
    const response = await fetch(url, { ...init, headers: headers() })
    const body = (await response.json()) as Body
    return { body, headers: response.headers, setCookies: response.headers.getSetCookie() }
  }

  function keep({ setCookies }: { readonly setCookies: readonly string[] }): void {
    for (const line of setCookies) cookie = line.split(';')[0] ?? ''
  }

  return {
    headers,
    cookie: () => cookie,
    keep,
    page: (app: string) => ask<Current>(`${app}/page`),
    component: (app: string) => ask<Current>(`${app}/component`),
    async signIn(app: string, email: string): Promise<Answer<Current>> {
      const body = JSON.stringify({ email, password: testPassword })
      const answer = await ask<Current>(`${app}/sign-in`, { method: 'POST', body })
      keep(answer)
      return answer
    },
    signOut: (app: string) => ask<SignOut>(`${app}/sign-out`, { method: 'POST' }),
    /** A `fetch` of a page of the app. */
    fetch: async (url: string | URL | Request, init?: RequestInit): Promise<Response> => {
      const own = { ...headers(), 'sec-fetch-site': 'same-origin' }
      const response = await fetch(url, {
        ...init,
        headers: { ...own, ...(init?.headers as Record<string, string>) },
      })
      keep({ setCookies: response.headers.getSetCookie() })
      return response
    },
  }
}
