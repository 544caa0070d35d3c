import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { answerCalls } from '../../support/child.ts'
import { auth } from '../../support/http.ts'
import { testPassword } from '../../support/users.ts'

// Other users, as they live beside an attacker: 5 refreshes, 2 calls of `me` and a sign-in each second.

export type Other = { readonly email: string; readonly from: string; readonly refreshToken: string }
export type Call = 'refresh' | 'sign-in' | 'me'
export type Experience = {
  /** How long each call took, in ms. */
  readonly times: Readonly<Record<Call, readonly number[]>>
  /** How many calls were not answered with 200, by call and answer. */
  readonly unserved: Readonly<Record<string, number>>
}

/** The client of this package waits as long for an answer. */
const patienceMs = 10_000
const stepMs = 200

type Session = Other & { token: string; attemptId: string | null }
let url: string
let sessions: readonly Session[] = []
let accessToken = ''
let turn = 0
let signIns = 0

answerCalls({ enlist, live })

/** Takes up these sessions and refreshes each once. */
async function enlist(order: { url: string; others: readonly Other[] }): Promise<void> {
  url = order.url
  sessions = order.others.map((other) => ({
    ...other,
    token: other.refreshToken,
    attemptId: null,
  }))
  for (const session of sessions) await refresh(session)
}

async function live(seconds: number): Promise<Experience> {
  const times: Record<Call, number[]> = { refresh: [], 'sign-in': [], me: [] }
  const unserved: Record<string, number> = {}
  const timed = async (call: Call, ask: () => Promise<number>) => {
    const startedAt = performance.now()
    const status = await ask().catch(() => 'no answer')
    times[call].push(performance.now() - startedAt)
    const what = `${call} ${status}`
    if (status !== 200) unserved[what] = (unserved[what] ?? 0) + 1
  }
  const startedAt = performance.now()
  const going: Promise<void>[] = []
  for (let step = 0; step < (seconds * 1000) / stepMs; step++) {
    await sleep(startedAt + step * stepMs - performance.now())
    const session = sessions[turn++ % sessions.length]!
    going.push(timed('refresh', () => refresh(session)))
    if (step % 5 === 0) {
      const user = sessions[signIns++ % sessions.length]!
      going.push(timed('sign-in', () => signIn(user)))
    }
    if (step % 5 === 1 || step % 5 === 3) going.push(timed('me', me))
  }
  await Promise.all(going)
  return { times, unserved }
}

/** Repeats an attempt until it is granted, as the client does. */
async function refresh(session: Session): Promise<number> {
  session.attemptId ??= randomUUID()
  const input = { refreshToken: session.token, attemptId: session.attemptId }
  const { status, data } = await auth(url, 'refresh', input, headersOf(session), patience())
  if (status === 200) {
    session.token = data.refreshToken
    session.attemptId = null
    accessToken = data.accessToken
  }
  return status
}

async function signIn(user: Session): Promise<number> {
  const input = { email: user.email, password: testPassword, transport: 'body' }
  return (await auth(url, 'login', input, headersOf(user), patience())).status
}

async function me(): Promise<number> {
  const headers = { authorization: `Bearer ${accessToken}` }
  const response = await fetch(`${url}/trpc/me`, { headers, signal: patience() })
  await response.text()
  return response.status
}

function headersOf({ from }: Session): Record<string, string> {
  return { 'x-forwarded-for': from }
}

function patience(): AbortSignal {
  return AbortSignal.timeout(patienceMs)
}
