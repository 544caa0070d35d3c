/** The part of Playwright's `Page` that is used. */
export type TestPage = {
  url(): string
  evaluate<Result, Argument>(
    task: (argument: Argument) => Result | Promise<Result>,
    argument: Argument,
  ): Promise<Result>
}

export type TestSignIn = {
  /** The service's URL, as the app gives it to `createAuthClient`. */
  readonly baseUrl: string
  readonly email: string
  readonly password: string
}

/**
 * Signs the page's browser context in, with a session of its own, from a page of the app. The app's client takes the
 * session up with its next `restore`: reload the page, or go to another.
 *
 * Call it once for each context. Do not share one session by `storageState`: the refresh token in it is spent by the
 * first context that refreshes, and the next context that presents it is a reuse, which ends the session of both.
 *
 * @throws {Error} when the page has no URL of the app yet, and with the service's reason when it refuses
 */
export async function signInForTest(page: TestPage, signIn: TestSignIn): Promise<void> {
  const baseUrl = signIn.baseUrl.replace(/\/+$/, '')
  if (!/^https?:/.test(page.url())) throw new Error('open a page of the app first, with page.goto')
  const { familyId, problem } = await page.evaluate(signInOnPage, { ...signIn, baseUrl })
  if (familyId === undefined) throw new Error(`the sign-in was refused: ${problem}`)
  await page.evaluate(({ key, value }) => localStorage.setItem(key, value), {
    // The note by which the client knows a session of its own: see `client/credential/own-session.ts`.
    key: `token-ledger ${baseUrl} family`,
    value: familyId,
  })
}

/** Runs in the page, so the browser sends the Origin of the app and keeps the cookie. */
async function signInOnPage({ baseUrl, email, password }: TestSignIn) {
  const response = await fetch(`${baseUrl}/auth/login`, {
    method: 'POST',
    credentials: 'include',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ email, password }),
  })
  const body = (await response.json()) as {
    result?: { data: { familyId: string } }
    error?: { data?: { reason?: string } }
  }
  return { familyId: body.result?.data.familyId, problem: body.error?.data?.reason ?? 'no answer' }
}
