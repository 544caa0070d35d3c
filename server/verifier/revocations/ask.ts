/** How long a call waits for the service's answer about one session. */
const answerMs = 2_000

/** Questions of one verifier at a time. More mean that the service does not keep up, and more would not help it. */
const maxAsked = 100

/**
 * Asks the service about one session, at `<url of the feed>/<id>`.
 *
 * @returns `hasEnded`, which throws when the service does not say
 */
export function createAsk(url: URL, token: string): (familyId: string) => Promise<boolean> {
  let asked = 0

  return async (familyId) => {
    if (asked === maxAsked) throw new Error(`${maxAsked} questions about sessions are open`)
    asked += 1
    try {
      const about = new URL(url)
      about.pathname = `${url.pathname.replace(/\/$/, '')}/${encodeURIComponent(familyId)}`
      const response = await fetch(about, {
        headers: { accept: 'application/json', authorization: `Bearer ${token}` },
        // Not followed, because the token would go to another server. Edge workers do not know `error`.
        redirect: 'manual',
        signal: AbortSignal.timeout(answerMs),
      })
      if (response.status !== 200) throw new Error(`the service answered ${response.status}`)
      const { ended } = (await response.json()) as { ended?: unknown }
      if (typeof ended !== 'boolean')
        throw new Error('the service did not say whether it has ended')
      return ended
    } finally {
      asked -= 1
    }
  }
}
