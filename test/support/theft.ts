import { expect } from 'vitest'
import * as fc from 'fast-check'
import { mayBeSameClient, type Caller } from '../../server/ledger/caller.ts'
import { graceMs } from './family-events.ts'

/**
 * A model of an owner with two tabs, a connection that loses and delays messages, a browser that is killed, and a thief.
 * It runs against anything that rotates.
 *
 * The owner follows docs/reference/rotation.md: both tabs share one jar, which keeps the newest token and the
 * attempt that is not settled yet, and each tab presents the token by that attempt, and names those before it. A browser
 * that is killed comes back with the jar that is on its disk, and with the notes of all attempts. Each request of theirs leaves
 * from any network: the browser has two address families, and the device moves. The thief copies the whole jar,
 * attempts included, or the one on the disk, and presents a stolen token at any moment, from another network or the owner's, with a user
 * agent of their own or the owner's.
 */

export type Token = { readonly generation: number; readonly value: string }
export type Presentation = { readonly granted: Token } | { readonly refused: string }

/** The implementation under test. */
export type Service = {
  /** Whether `present` takes a proof of the user; without it, no tab proves anything. */
  readonly takesProofs?: boolean
  present(request: Request): Promise<Presentation>
  wait(ms: number): Promise<void>
}

/** A token with the attempt it is, or was, presented by. */
type Held = { readonly token: Token; readonly attempt: string | null }

type Copied = Held & {
  /** Those before the attempt. */
  readonly previous: readonly string[]
}

/** With `proof`, the user has just proved again who they are. */
export type Request = Copied & { readonly caller: Caller; readonly proof?: true }

type Tab = { request: Request | null; readonly answers: Token[] }

/** IPv4 and IPv6 at home, and a mobile network. */
const ownersAddresses = ['192.0.2.7', '2001:db8:1::7', '198.51.100.9'] as const
const ownersAgent = 'browser'
const owners = fc
  .constantFrom(...ownersAddresses)
  .map((ip): Caller => ({ ip, userAgent: ownersAgent }))

const thiefs = fc.record({
  ip: fc.constantFrom('203.0.113.66', ownersAddresses[0]),
  userAgent: fc.constantFrom('tool', ownersAgent),
})
/** Where the thief and the owner are in the end. */
const thief: Caller = { ip: '203.0.113.66', userAgent: 'tool' }
const ownerAtHome: Caller = { ip: ownersAddresses[0], userAgent: ownersAgent }

export type World = {
  readonly service: Service
  /** The state of the family that the rules of docs/reference/rotation.md predict. */
  readonly expected: {
    now: number
    current: number
    madeAt: number
    /** The attempts of all rotations, the first of which made generation 1. */
    madeBy: (string | null)[]
    madeFrom: Caller
    /** Whether a proof made the current token: then no window forgives its predecessor. */
    madeByProof: boolean
    replays: number
    isOver: boolean
  }
  /** Every token that was ever handed out, by generation. */
  readonly handedOut: Map<number, string>
  jar: Held
  /** The jar that the browser has written, and how many attempts it had begun then. */
  disk: { readonly jar: Held; readonly begun: number }
  /** The notes of the owner's attempts, which are on the disk before each request. */
  readonly begun: string[]
  readonly tabs: readonly [Tab, Tab]
  readonly stolen: Copied[]
  thiefWasGranted: boolean
  attempts: number
}

export function begin(service: Service, first: Token): World {
  return {
    service,
    expected: {
      now: 0,
      current: 0,
      madeAt: 0,
      madeBy: [],
      madeFrom: ownerAtHome,
      madeByProof: false,
      replays: 0,
      isOver: false,
    },
    handedOut: new Map([[first.generation, first.value]]),
    jar: { token: first, attempt: null },
    disk: { jar: { token: first, attempt: null }, begun: 0 },
    begun: [],
    tabs: [
      { request: null, answers: [] },
      { request: null, answers: [] },
    ],
    stolen: [],
    thiefWasGranted: false,
    attempts: 0,
  }
}

const maxReplays = 20
const maxPrevious = 20

type Verdict = 'rotated' | 'replayed' | 'reused' | 'worn out'

/** Rules 1 and 4 to 7 of docs/reference/rotation.md, for a family that has not expired. */
function judge({ expected }: World, { token, attempt, previous, caller }: Request): Verdict {
  if (expected.isOver) return 'reused'
  if (token.generation === expected.current) return 'rotated'
  const isParent = token.generation === expected.current - 1
  const isNamed = (made: string | null) =>
    made !== null && (made === attempt || previous.includes(made))
  const isByItsAttempts = expected.madeBy.slice(token.generation).every(isNamed)
  const isForgiven =
    isParent &&
    !expected.madeByProof &&
    expected.now < expected.madeAt + graceMs &&
    mayBeSameClient(caller, expected.madeFrom)
  if (!isByItsAttempts && !isForgiven) return 'reused'
  return expected.replays < maxReplays ? 'replayed' : 'worn out'
}

/** The owner or the thief presents a token: the service must follow the rules and never fork the family. */
async function present(
  world: World,
  request: Request,
): Promise<{ verdict: Verdict; got: Token | null }> {
  const { service, expected, handedOut } = world
  const verdict = judge(world, request)
  const outcome = await service.present(request)
  const expectedOutcome = {
    rotated: { granted: expected.current + 1 },
    replayed: { granted: expected.current },
    reused: { refused: 'refresh_token_reused' },
    'worn out': { refused: 'too_many_attempts' },
  }[verdict]
  const actual = 'granted' in outcome ? { granted: outcome.granted.generation } : outcome
  expect(actual).toEqual(expectedOutcome)
  if (verdict === 'rotated') {
    expected.current++
    expected.madeAt = expected.now
    expected.madeBy.push(request.attempt)
    expected.madeFrom = request.caller
    expected.madeByProof = request.proof === true
    expected.replays = 0
  } else if (verdict === 'replayed') expected.replays++
  else if (verdict === 'reused') expected.isOver = true
  if (!('granted' in outcome)) return { verdict, got: null }
  const { generation, value } = outcome.granted
  expect(handedOut.get(generation) ?? value).toBe(value)
  handedOut.set(generation, value)
  return { verdict, got: outcome.granted }
}

async function wait(world: World, ms: number): Promise<void> {
  world.expected.now += ms
  await world.service.wait(ms)
}

function newAttempt(world: World): string {
  world.attempts++
  return `00000000-0000-4000-8000-${String(world.attempts).padStart(12, '0')}`
}

/** What a tab presents: the jar's token, by the attempt that is not settled yet or a new one. */
function nextRequest(world: World, caller = ownerAtHome): Request {
  const { token } = world.jar
  const attempt = world.jar.attempt ?? newAttempt(world)
  world.jar = { token, attempt }
  const previous = previousOf(world)
  if (!world.begun.includes(attempt)) world.begun.push(attempt)
  return { token, attempt, previous, caller }
}

/** The attempts before that of the jar, as far as the owner names them. */
function previousOf({ begun, jar }: World): string[] {
  return begun.filter((id) => id !== jar.attempt).slice(-maxPrevious)
}

/** Keeps the newest token, however late another one arrives. A new token has no attempt yet. */
function keep(world: World, token: Token): void {
  if (token.generation > world.jar.token.generation) world.jar = { token, attempt: null }
}

type Step = fc.AsyncCommand<World, World>

/** `check` says whether the step can be taken now; both sides of fast-check's model are the world. */
function step(
  name: string,
  check: (world: World) => boolean,
  run: (world: World) => unknown,
): Step {
  return {
    check: (world) => check(world),
    run: async (_model, world) => {
      await run(world)
    },
    toString: () => name,
  }
}

const tabs = fc.constantFrom<0 | 1>(0, 1)

const send = fc.record({ i: tabs, caller: owners }).map(({ i, caller }) =>
  step(
    `tab ${i} sends from ${caller.ip}`,
    (world) => world.tabs[i].request === null,
    (world) => {
      world.tabs[i].request = nextRequest(world, caller)
    },
  ),
)

const arrive = fc.record({ i: tabs, isLost: fc.boolean() }).map(({ i, isLost }) =>
  step(
    `the service answers tab ${i}${isLost ? ', and the answer is lost' : ''}`,
    ({ tabs: { [i]: tab }, stolen, expected }) =>
      tab.request !== null &&
      // A request that two rotations have overtaken has no client waiting for it, and the service does not
      // carry it out. With a thief, the owner cannot know how many rotations there were.
      (stolen.length > 0 || tab.request.token.generation >= expected.current - 1),
    async (world) => {
      const tab = world.tabs[i]
      const { got } = await present(world, tab.request!)
      tab.request = null
      if (got !== null && !isLost) tab.answers.push(got)
    },
  ),
)

const lose = tabs.map((i) =>
  step(
    `the request of tab ${i} is lost`,
    (world) => world.tabs[i].request !== null,
    (world) => {
      world.tabs[i].request = null
    },
  ),
)

const receive = fc.record({ i: tabs, last: fc.boolean() }).map(({ i, last }) =>
  step(
    `tab ${i} receives the ${last ? 'last' : 'first'} answer`,
    (world) => world.tabs[i].answers.length > 0,
    (world) => {
      const { answers } = world.tabs[i]
      keep(world, (last ? answers.pop() : answers.shift())!)
    },
  ),
)

const refresh = fc.record({ i: tabs, caller: owners }).map(({ i, caller }) =>
  step(
    `tab ${i} refreshes from ${caller.ip}`,
    (world) => world.tabs[i].request === null,
    async (world) => {
      const { got } = await present(world, nextRequest(world, caller))
      if (got !== null) keep(world, got)
    },
  ),
)

const prove = fc.record({ i: tabs, caller: owners }).map(({ i, caller }) =>
  step(
    `the user proves who they are in tab ${i} from ${caller.ip}`,
    ({ service, tabs: { [i]: tab } }) => service.takesProofs === true && tab.request === null,
    (world) => {
      world.tabs[i].request = { ...nextRequest(world, caller), proof: true }
    },
  ),
)

const write = fc.constant(
  step(
    'the browser writes its jar',
    () => true,
    (world) => {
      world.disk = { jar: world.jar, begun: world.begun.length }
    },
  ),
)

const kill = fc.constant(
  step(
    'the browser is killed, and comes back with the jar on its disk',
    // It writes its jar within half a minute.
    ({ begun, disk }) => begun.length - disk.begun < maxPrevious,
    (world) => {
      const { attempt } = world.jar
      world.jar = { token: world.disk.jar.token, attempt }
      for (const tab of world.tabs) {
        // The service carries out no request whose client is gone.
        tab.request = null
        tab.answers.length = 0
      }
    },
  ),
)

const pass = fc.oneof(fc.nat(20_000), fc.constantFrom(0, 1, graceMs - 1, graceMs)).map((ms) =>
  step(
    `${ms} ms pass`,
    () => true,
    (world) => wait(world, ms),
  ),
)

const steal = fc.constantFrom<'jar' | 'disk'>('jar', 'disk').map((what) =>
  step(
    `the thief copies the ${what}`,
    () => true,
    (world) => {
      const { token } = what === 'jar' ? world.jar : world.disk.jar
      const { attempt } = world.jar
      world.stolen.push({ token, attempt, previous: previousOf(world) })
    },
  ),
)

/** The thief presents a token by the copied attempts, by none, or by one of his own. */
const use = fc
  .record({
    age: fc.nat(3),
    by: fc.constantFrom<'copied' | 'none' | 'own'>('copied', 'none', 'own'),
    caller: thiefs,
  })
  .map(({ age, by, caller }) =>
    step(
      `the thief presents token ${age} before his newest by attempt: ${by}, as ${JSON.stringify(caller)}`,
      (world) => world.stolen.length > age,
      async (world) => {
        const { token, attempt, previous } = world.stolen[world.stolen.length - 1 - age]!
        const attempts = { copied: attempt, none: null, own: newAttempt(world) }
        const named = by === 'copied' ? previous : []
        await thiefPresents(world, { token, attempt: attempts[by], previous: named, caller })
      },
    ),
  )

async function thiefPresents(world: World, request: Request): Promise<Verdict> {
  const { verdict, got } = await present(world, request)
  if (got !== null) {
    world.stolen.push({ token: got, attempt: null, previous: [] })
    world.thiefWasGranted = true
  }
  return verdict
}

const tabSteps = [refresh, refresh, send, send, arrive, arrive, receive, receive, lose, pass, prove]
const ownerSteps = [...tabSteps, write, kill]
const bounds = { maxCommands: 60, size: '+1' } as const

/** Steps of an owner with two tabs and a bad connection. */
export const ownerScenario = fc.commands(ownerSteps, bounds)

/** The same with a thief. */
export const theftScenario = fc.commands([...ownerSteps, steal, use, use, use], bounds)

/**
 * Runs a scenario without a thief: the service never detects a reuse, and the token in the jar works.
 */
export async function expectOwnerStaysSignedIn(
  world: World,
  scenario: Iterable<Step>,
): Promise<void> {
  await fc.asyncModelRun(() => ({ model: world, real: world }), scenario)
  expect(world.expected.isOver).toBe(false)
  await wait(world, graceMs)
  // A client that was refused with too_many_attempts still holds the newest token or its parent.
  if (world.expected.replays >= maxReplays) return
  const { got } = await present(world, nextRequest(world))
  expect(got).not.toBeNull()
}

/**
 * Runs a scenario with a thief, and then thief and owner refresh again after the window. The first to present a
 * token that the other has rotated away ends the family: at the latest once the owner has rotated by an attempt that
 * began after the last copy. Until then both hold the same tokens, because a family has one chain.
 *
 * @returns whether the thief, who had been granted a refresh, was found only after the scenario
 */
export async function expectThiefFound(
  world: World,
  scenario: Iterable<Step>,
  nextToRefresh: 'owner' | 'thief',
): Promise<boolean> {
  await fc.asyncModelRun(() => ({ model: world, real: world }), scenario)
  const { expected } = world
  if (!world.thiefWasGranted || expected.isOver || expected.replays >= maxReplays) return false
  for (const tab of world.tabs) tab.answers.splice(0).forEach((token) => keep(world, token))
  if (nextToRefresh === 'thief') await thiefRotates(world)
  if (!expected.isOver) {
    await wait(world, graceMs)
    // The thief has a copy of an attempt that was in flight then, but not of the next one.
    await ownerRotates(world)
  }
  if (!expected.isOver) {
    await wait(world, graceMs)
    expect(await thiefPresents(world, newestOf(world))).toBe('reused')
  }
  // The family has ended for both.
  expect((await present(world, nextRequest(world))).verdict).toBe('reused')
  expect((await present(world, newestOf(world))).verdict).toBe('reused')
  return true
}

/** The thief refreshes until he has rotated or is found. */
async function thiefRotates(world: World): Promise<void> {
  for (let round = 0; round < 3; round++) {
    const verdict = await thiefPresents(world, newestOf(world))
    if (verdict !== 'replayed') return
  }
  throw new Error('the thief was neither granted a rotation nor found')
}

/** The owner refreshes until an attempt that began now has rotated, or the thief is found. */
async function ownerRotates(world: World): Promise<void> {
  for (let round = 0; round < 3; round++) {
    const isNew = world.jar.attempt === null
    const { verdict, got } = await present(world, nextRequest(world))
    if (got === null) return
    keep(world, got)
    // A browser that was killed first gets the current token again.
    if (isNew && verdict === 'rotated') return
  }
  throw new Error('the owner was neither granted a rotation nor refused')
}

function newestOf({ stolen }: World): Request {
  const newest = stolen.reduce((found, one) =>
    one.token.generation >= found.token.generation ? one : found,
  )
  return { ...newest, caller: thief }
}
