import { moveClock } from './clock.ts'
import type { FreshDatabase } from './database.ts'
import { auth } from './http.ts'
import { makeUser, testPassword } from './users.ts'

const minuteMs = 60_000

const agents = {
  firefox: 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
  chrome:
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36',
  iphone:
    'Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1',
  tool: 'python-requests/2.32',
} as const

/** What callers send that names them; the service takes the address from its proxy at 127.0.0.1. */
const from = (ip: string, agent: keyof typeof agents) => ({
  'x-forwarded-for': ip,
  'user-agent': agents[agent],
})

export type DemoLedger = {
  readonly admin: string
  readonly person: string
  /** The session whose spent token came back from elsewhere. */
  readonly stolen: string
  /** An active session that has rotated often and repaired an answer. */
  readonly lively: string
}

/**
 * Six hours in the life of a few people, for a service with `TRUSTED_PROXIES=127.0.0.1/32`: sessions on several devices,
 * a lost answer that was repaired, a stolen token that came back, and a sign-out.
 */
export async function makeDemoLedger(url: string, owner: FreshDatabase): Promise<DemoLedger> {
  const admin = await makeUser(owner.url, 'ada.admin@example.com', 'admin')
  const person = await makeUser(owner.url, 'grace@example.com')
  const other = await makeUser(owner.url, 'linus@example.com')
  const at = (minutesAgo: number) => moveClock(owner.ownerSql, -minutesAgo * minuteMs)
  const signIn = async (email: string, headers: Record<string, string>, deviceName?: string) => {
    const input = { email, password: testPassword, transport: 'body', deviceName }
    return (await auth(url, 'login', input, headers)).data
  }
  const refresh = async (refreshToken: string, headers: Record<string, string>, attempt?: string) =>
    (await auth(url, 'refresh', { refreshToken, attemptId: attempt }, headers)).data

  const home = from('192.0.2.7', 'firefox')
  const phone = from('198.51.100.23', 'iphone')
  await at(360)
  const lively = await signIn(person.email, home, 'Work laptop')
  await at(340)
  const onPhone = await signIn(person.email, phone)
  await signIn(other.email, from('203.0.113.80', 'chrome'))
  let token: string = lively.refreshToken
  for (const minutes of [320, 290, 262, 231]) {
    await at(minutes)
    token = (await refresh(token, home)).refreshToken
  }
  await at(200)
  const attempt = crypto.randomUUID()
  // The answer is lost, and the same attempt asks again.
  await refresh(token, home, attempt)
  await at(199)
  token = (await refresh(token, home, attempt)).refreshToken
  for (const minutes of [170, 120, 64, 20]) {
    await at(minutes)
    token = (await refresh(token, home)).refreshToken
  }

  await at(330)
  const stolen = await signIn(person.email, from('192.0.2.7', 'chrome'), 'Family computer')
  const copied: string = stolen.refreshToken
  let current = copied
  for (const minutes of [300, 250, 210, 150]) {
    await at(minutes)
    current = (await refresh(current, from('192.0.2.7', 'chrome'))).refreshToken
  }
  await at(118)
  await refresh(copied, from('203.0.113.66', 'tool'))

  await at(100)
  await auth(url, 'logout', { refreshToken: onPhone.refreshToken }, phone)
  await at(30)
  await signIn(person.email, phone, 'Phone')
  await at(0)
  return {
    admin: admin.email,
    person: person.email,
    stolen: stolen.familyId,
    lively: lively.familyId,
  }
}
