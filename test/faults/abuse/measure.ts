import { loadavg } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { startChild } from '../../support/child.ts'
import { attacks } from './attacks.ts'
import type { Order } from './attacker-process.ts'
import type { Experience } from './others-process.ts'
import { setStage, type Stage, type Usage } from './stage.ts'
import { brokenLimits, markdownOf, together, type Line, type Observed } from './table.ts'

const others = 60
/** An attack has used up what is not counted, and a calm begins without what an attack left behind. */
const settleMs = 2_000

/**
 * Measures what one client costs, attack by attack, with a calm before each, and prints the block of
 * docs/security/abuse.md.
 *
 * @returns whether every limit held
 */
export async function measureAbuse(seconds: number): Promise<boolean> {
  const load = loadavg()[0]!
  await using stage = await setStage()
  const crowd = startChild(new URL('others-process.ts', import.meta.url))
  const attacker = startChild(new URL('attacker-process.ts', import.meta.url))
  const live = (): Promise<Experience> => crowd.call('live', seconds)
  try {
    const people = await stage.others(others)
    await crowd.call('enlist', { url: stage.url, others: people })
    const calms: Observed[] = []
    const lines: Line[] = []
    for (const { title, perSecond } of inOrder()) {
      calms.push(await observe(stage, live))
      const means = await stage.attacker(people[0]!.email)
      const order: Order = { url: stage.url, title, perSecond, means }
      await attacker.call('begin', order)
      await sleep(settleMs)
      const observed = await observe(stage, live)
      const answers: Record<string, number> = await attacker.call('end')
      lines.push({ title, perSecond, answers, observed })
      console.error(`${perSecond}/s ${title}: ${JSON.stringify(answers)}`)
      await sleep(settleMs)
    }
    const calm = together(calms)
    console.log(markdownOf(calm, lines, { seconds, load }))
    return brokenLimits(calm, lines).length === 0
  } finally {
    await attacker.stop()
    await crowd.stop()
  }
}

/** The slow ones first: they use up what the fast ones are refused for. */
function inOrder(): { title: string; perSecond: number }[] {
  return attacks
    .flatMap(({ title, rates }) => rates.map((perSecond) => ({ title, perSecond })))
    .toSorted((one, other) => one.perSecond - other.perSecond)
}

async function observe(stage: Stage, live: () => Promise<Experience>): Promise<Observed> {
  const before = await stage.usage()
  const startedAt = performance.now()
  const experience = await live()
  const seconds = (performance.now() - startedAt) / 1000
  const residentBytes = stage.residentBytes()
  return { experience, seconds, residentBytes, used: difference(await stage.usage(), before) }
}

function difference(after: Usage, before: Usage): Usage {
  const of = (key: keyof Usage) => after[key] - before[key]
  return {
    nodeSeconds: of('nodeSeconds'),
    postgresSeconds: of('postgresSeconds'),
    families: of('families'),
    events: of('events'),
    limits: of('limits'),
    walBytes: of('walBytes'),
  }
}
