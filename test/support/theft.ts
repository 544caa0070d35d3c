import { expect } from 'vitest'
import * as fc from 'fast-check'
import { graceMs } from './family-events.ts'

/**
 * An owner with two tabs, a line that loses and delays, and a thief, in front of anything that rotates.
 *
 * The owner uses docs/reference/rotation.md, rule 5: both tabs share one jar, which keeps the newest token and the
 * attempt that is not settled yet; whoever presents the token presents that attempt with it. The thief copies
 * the whole jar, the attempt as well, and presents what he has at any moment.
 */

export type Token = { readonly generation: number; readonly value: string }
export type Outcome = { readonly granted: Token } | { readonly refused: string }

/** What is put to the test. */
export type Service = {
  present(token: Token, attemptId: string | null): Promise<Outcome>
  wait(ms: number): Promise<void>
}

/** A token with the attempt it is, or was, presented by. */
type Held = { readonly token: Token; readonly attempt: string | null }

type Tab = { request: Held | null; readonly answers: Token[] }

export type World = {
  readonly service: Service
  /** What docs/reference/rotation.md says of the family now. */
  readonly law: {
    now: number
    current: number
    madeAt: number
    madeBy: string | null
    replays: number
    isOver: boolean
  }
  /** Every token that was ever handed out, by generation. */
  readonly handedOut: Map<number, string>
  jar: Held
  readonly tabs: readonly [Tab, Tab]
  readonly loot: Held[]
  thiefWasLetIn: boolean
  attempts: number
}

export function begin(service: Service, first: Token): World {
  return {
    service,
    law: { now: 0, current: 0, madeAt: 0, madeBy: null, replays: 0, isOver: false },
    handedOut: new Map([[first.generation, first.value]]),
    jar: { token: first, attempt: null },
    tabs: [
      { request: null, answers: [] },
      { request: null, answers: [] },
    ],
    loot: [],
    thiefWasLetIn: false,
    attempts: 0,
  }
}

const maxReplays = 20

type Verdict = 'rotated' | 'replayed' | 'reused' | 'worn out'

/** docs/reference/rotation.md, rules 1 and 4 to 7, of a family that has not expired. */
function judge({ law }: World, { token, attempt }: Held): Verdict {
  if (law.isOver) return 'reused'
  if (token.generation === law.current) return 'rotated'
  const isParent = token.generation === law.current - 1
  const isSameAttempt = attempt !== null && attempt === law.madeBy
  if (!isParent || !(isSameAttempt || law.now < law.madeAt + graceMs)) return 'reused'
  return law.replays < maxReplays ? 'replayed' : 'worn out'
}

/** Presents a token: the service must do what the rules say, and never fork. */
async function present(world: World, held: Held): Promise<{ verdict: Verdict; got: Token | null }> {
  const { service, law, handedOut } = world
  const verdict = judge(world, held)
  const outcome = await service.present(held.token, held.attempt)
  const expected = {
    rotated: { granted: law.current + 1 },
    replayed: { granted: law.current },
    reused: { refused: 'refresh_token_reused' },
    'worn out': { refused: 'too_many_attempts' },
  }[verdict]
  const said = 'granted' in outcome ? { granted: outcome.granted.generation } : outcome
  expect(said).toEqual(expected)
  if (verdict === 'rotated') {
    law.current++
    law.madeAt = law.now
    law.madeBy = held.attempt
    law.replays = 0
  } else if (verdict === 'replayed') law.replays++
  else if (verdict === 'reused') law.isOver = true
  if (!('granted' in outcome)) return { verdict, got: null }
  const { generation, value } = outcome.granted
  expect(handedOut.get(generation) ?? value).toBe(value)
  handedOut.set(generation, value)
  return { verdict, got: outcome.granted }
}

async function wait(world: World, ms: number): Promise<void> {
  world.law.now += ms
  await world.service.wait(ms)
}

function newAttempt(world: World): string {
  world.attempts++
  return `00000000-0000-4000-8000-${String(world.attempts).padStart(12, '0')}`
}

/** What a tab presents: the jar's token, by the attempt that is not settled yet. */
function takeUp(world: World): Held {
  const { token, attempt } = world.jar
  world.jar = { token, attempt: attempt ?? newAttempt(world) }
  return world.jar
}

/** The newest token is kept, however late another one arrives; it has no attempt yet. */
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

const send = tabs.map((i) =>
  step(
    `tab ${i} sends`,
    (world) => world.tabs[i].request === null,
    (world) => {
      world.tabs[i].request = takeUp(world)
    },
  ),
)

const arrive = fc.record({ i: tabs, isLost: fc.boolean() }).map(({ i, isLost }) =>
  step(
    `tab ${i} is ${isLost ? 'answered in vain' : 'answered'}`,
    ({ tabs: { [i]: tab }, loot, law }) =>
      tab.request !== null &&
      // No request is so late that two rotations have overtaken it: nobody waits for that one any more,
      // and the service refuses it for that. With a thief, the owner cannot know.
      (loot.length > 0 || tab.request.token.generation >= law.current - 1),
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
    `tab ${i} sent in vain`,
    (world) => world.tabs[i].request !== null,
    (world) => {
      world.tabs[i].request = null
    },
  ),
)

const receive = fc.record({ i: tabs, last: fc.boolean() }).map(({ i, last }) =>
  step(
    `tab ${i} hears the ${last ? 'last' : 'first'} answer`,
    (world) => world.tabs[i].answers.length > 0,
    (world) => {
      const { answers } = world.tabs[i]
      keep(world, (last ? answers.pop() : answers.shift())!)
    },
  ),
)

const refresh = tabs.map((i) =>
  step(
    `tab ${i} refreshes`,
    (world) => world.tabs[i].request === null,
    async (world) => {
      const { got } = await present(world, takeUp(world))
      if (got !== null) keep(world, got)
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

const steal = fc.constant(
  step(
    'the thief copies',
    () => true,
    (world) => world.loot.push(world.jar),
  ),
)

/** By which attempt the thief presents: the copied one, none, or one of his own. */
const use = fc
  .record({
    age: fc.nat(3),
    by: fc.constantFrom<'copied' | 'none' | 'own'>('copied', 'none', 'own'),
  })
  .map(({ age, by }) =>
    step(
      `the thief presents his last but ${age} by ${by} attempt`,
      (world) => world.loot.length > age,
      async (world) => {
        const { token, attempt } = world.loot[world.loot.length - 1 - age]!
        const attempts = { copied: attempt, none: null, own: newAttempt(world) }
        await thiefPresents(world, { token, attempt: attempts[by] })
      },
    ),
  )

async function thiefPresents(world: World, held: Held): Promise<Verdict> {
  const { verdict, got } = await present(world, held)
  if (got !== null) {
    world.loot.push({ token: got, attempt: null })
    world.thiefWasLetIn = true
  }
  return verdict
}

const ownerSteps = [refresh, refresh, send, send, arrive, arrive, receive, receive, lose, pass]
const bounds = { maxCommands: 60, size: '+1' } as const

/** What an owner with two tabs and a bad line may do. */
export const honestDays = fc.commands(ownerSteps, bounds)

/** The same, with a thief. */
export const daysWithThief = fc.commands([...ownerSteps, steal, use, use, use], bounds)

/**
 * Lets `days` pass. (b) An honest pair: nobody was ever taken for a thief, and what the jar holds works.
 */
export async function expectHonestPairUnharmed(world: World, days: Iterable<Step>): Promise<void> {
  await fc.asyncModelRun(() => ({ model: world, real: world }), days)
  expect(world.law.isOver).toBe(false)
  await wait(world, graceMs)
  // A client that was sent away with too_many_attempts still holds the newest or its parent.
  if (world.law.replays >= maxReplays) return
  const { got } = await present(world, takeUp(world))
  expect(got).not.toBeNull()
}

/**
 * Lets `days` pass, and then the thief and the owner go on, after the window. (a) Whoever is left behind by a rotation ends the
 * family when he comes: at the latest once the owner has rotated by an attempt that began after the last copy.
 * Until then both hold the same tokens: there is never a second chain.
 *
 * @returns whether a thief who was let in was found only here
 */
export async function expectThiefFound(
  world: World,
  days: Iterable<Step>,
  whoGoesOn: 'owner' | 'thief',
): Promise<boolean> {
  await fc.asyncModelRun(() => ({ model: world, real: world }), days)
  const { law } = world
  if (!world.thiefWasLetIn || law.isOver || law.replays >= maxReplays) return false
  for (const tab of world.tabs) tab.answers.splice(0).forEach((token) => keep(world, token))
  if (whoGoesOn === 'thief') await thiefRotates(world)
  if (!law.isOver) {
    await wait(world, graceMs)
    // An attempt that was under way when it was copied is the thief's as well; the next one is not.
    await ownerRotates(world)
  }
  if (!law.isOver) {
    await wait(world, graceMs)
    expect(await thiefPresents(world, newestOf(world))).toBe('reused')
  }
  // Over for both, with whatever they hold.
  expect((await present(world, takeUp(world))).verdict).toBe('reused')
  expect((await present(world, newestOf(world))).verdict).toBe('reused')
  return true
}

/** The thief goes on until he has made a rotation, or is found. */
async function thiefRotates(world: World): Promise<void> {
  for (let round = 0; round < 3; round++) {
    const verdict = await thiefPresents(world, newestOf(world))
    if (verdict !== 'replayed') return
  }
  throw new Error('the thief neither goes on nor is found')
}

/** The owner goes on until an attempt that began now has made a rotation, or the thief is found. */
async function ownerRotates(world: World): Promise<void> {
  for (let round = 0; round < 3; round++) {
    const isNew = world.jar.attempt === null
    const { verdict, got } = await present(world, takeUp(world))
    if (got === null) return
    keep(world, got)
    if (isNew) {
      // After the window a new attempt has no way in but by a rotation.
      expect(verdict).toBe('rotated')
      return
    }
  }
  throw new Error('the owner neither goes on nor is told')
}

function newestOf({ loot }: World): Held {
  return loot.reduce((newest, one) =>
    one.token.generation >= newest.token.generation ? one : newest,
  )
}
