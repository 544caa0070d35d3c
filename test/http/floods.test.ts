import fastify, { type FastifyInstance } from 'fastify'
import { afterEach, expect, onTestFinished, test, vi } from 'vitest'
import { refuseFloods } from '../../server/http/refuse-floods.ts'
import { createFloods } from '../../server/limits/floods.ts'
import type { SecurityEvent } from '../../server/observability/security-log.ts'
import { startApp } from '../support/app.ts'

let app: FastifyInstance | undefined
let events: SecurityEvent[]

afterEach(() => app?.close())

function refuse(periodMs: number) {
  events = []
  app = fastify()
  refuseFloods(
    app,
    createFloods((event) => events.push(event), periodMs),
  )
  app.get('/refused', (_request, reply) => reply.code(401).send({}))
  app.get('/granted', () => 'granted')
}

/** Makes one request for each address, all at once. */
function ask(url: string, addresses: readonly string[]) {
  return Promise.all(addresses.map((remoteAddress) => app!.inject({ url, remoteAddress })))
}

async function statuses(url: string, addresses: readonly string[]) {
  return new Set((await ask(url, addresses)).map(({ statusCode }) => statusCode))
}

const times = (count: number, address: (i: number) => string) =>
  Array.from({ length: count }, (_, i) => address(i))
const flooder = () => '203.0.113.7'

test('HT-02: of a network that was refused a hundred times, one request in ten is answered as usual, and other networks are served', async () => {
  refuse(60_000)
  expect(await statuses('/refused', times(100, flooder))).toEqual(new Set([401]))
  const answers = await ask('/granted', times(500, flooder))
  const flooding = answers.filter(({ statusCode }) => statusCode === 429)
  const granted = answers.filter(({ statusCode }) => statusCode === 200)
  expect(granted.length + flooding.length).toBe(500)
  expect(granted.length).toBeGreaterThan(10)
  expect(granted.length).toBeLessThan(150)
  expect(flooding[0]!.headers).toMatchObject({ 'retry-after': '1' })
  expect(flooding[0]!.json()).toMatchObject({
    error: { data: { httpStatus: 429, reason: 'too_many_attempts', retryAfterSeconds: 1 } },
  })
  expect(await statuses('/granted', ['203.0.113.8', '2001:db8::1'])).toEqual(new Set([200]))
})

test('a network is served again a period after its flood, also while another one floods, and whatever its honest clients send', () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  onTestFinished(() => void vi.useRealTimers())
  const floods = createFloods(() => {}, 1_000)
  const [flood, other] = ['203.0.113.7', '203.0.113.8']
  const countRefusals = (ip: string, count: number) => {
    for (let i = 0; i < count; i += 1) floods.countRefusal(ip)
  }
  const flooding = () => [flood, other].filter((ip) => floods.isAny() && floods.isFlooding(ip))
  countRefusals(flood, 100)
  expect(flooding()).toEqual([flood])
  // One in ten is answered: ten refusals are those of a hundred requests.
  for (let period = 0; period < 3; period += 1) {
    vi.advanceTimersByTime(1_000)
    expect(flooding()).toEqual([flood])
    countRefusals(flood, 10)
  }
  vi.advanceTimersByTime(1_000)
  countRefusals(flood, 9)
  countRefusals(other, 100)
  expect(flooding()).toEqual([flood, other])
  vi.advanceTimersByTime(1_000)
  expect(flooding()).toEqual([other])
  vi.advanceTimersByTime(1_000)
  expect(flooding()).toEqual([])
  countRefusals(flood, 100)
  vi.advanceTimersByTime(2_000)
  expect(flooding()).toEqual([])
})

test('a network that floods does not shut out its neighbours: what is answered unread does not count', async () => {
  refuse(60_000)
  await ask(
    '/refused',
    times(100, () => '2001:db8:7:1::1'),
  )
  expect(
    await statuses(
      '/granted',
      times(1_000, () => '2001:db8:7:1::1'),
    ),
  ).toContain(429)
  expect(await statuses('/granted', ['2001:db8:7:2::1'])).toEqual(new Set([200]))
  expect(events).toHaveLength(1)
})

test('HT-02: the addresses of one IPv6 /48 are counted together, and an event names the network once in a minute', async () => {
  refuse(60_000)
  // Each of another /64, and few of the same /56.
  await ask(
    '/refused',
    times(399, (i) => `2001:db8:7:${((i % 200) * 256 + i).toString(16)}::1`),
  )
  const other = '2001:db8:7:ffff::1'
  expect(
    await statuses(
      '/granted',
      times(50, () => other),
    ),
  ).toEqual(new Set([200]))
  await ask('/refused', [other])
  expect(
    await statuses(
      '/granted',
      times(50, () => other),
    ),
  ).toContain(429)
  expect(events).toEqual([{ event: 'network_flooding', network: '2001:db8:7::/48', ip: other }])
})

test.each(['127.0.0.1', '10.1.2.3', '172.20.0.1', 'fc00::1'])(
  'the address of a proxy, which many callers share, is not counted: %s',
  async (address) => {
    refuse(60_000)
    expect(
      await statuses(
        '/refused',
        times(300, () => address),
      ),
    ).toEqual(new Set([401]))
  },
)

test('many networks take bounded memory', () => {
  const floods = createFloods(() => {})
  const before = process.memoryUsage().heapUsed
  for (let i = 0; i < 30_000; i += 1)
    floods.countRefusal(`2001:db8:${(i >> 8).toString(16)}:${(i & 255).toString(16)}::1`)
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(64 * 1024 * 1024)
})

test.each([
  ['on', true],
  ['off', false],
])('the service with RATE_LIMITS=%s', async (setting, isRefusing) => {
  // A second that lasts as long as the test.
  vi.useFakeTimers({ toFake: ['performance'] })
  onTestFinished(() => void vi.useRealTimers())
  await using service = await startApp({
    RATE_LIMITS: setting,
    TRUSTED_PROXIES: '127.0.0.1/32',
  })
  const refresh = async () => {
    const answer = await service.app.inject({
      method: 'POST',
      url: '/auth/refresh',
      remoteAddress: '127.0.0.1',
      headers: { 'x-forwarded-for': '203.0.113.7' },
      payload: { refreshToken: 'junk' },
    })
    return answer.statusCode
  }
  const seen = new Set<number>()
  for (let round = 0; round < 3; round += 1) {
    for (const status of await Promise.all(Array.from({ length: 100 }, refresh))) seen.add(status)
    if (seen.has(429)) break
  }
  expect(seen.has(429)).toBe(isRefusing)
})
