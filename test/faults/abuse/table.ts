import { availableParallelism } from 'node:os'
import { summarize } from '../../bench/statistics.ts'
import type { Call, Experience } from './others-process.ts'
import type { Usage } from './stage.ts'

/** Some seconds of the service, with what other users had of it. */
export type Observed = {
  readonly experience: Experience
  readonly seconds: number
  readonly used: Usage
  readonly residentBytes: number
}

export type Line = {
  readonly title: string
  /** Requests a second of the attacker. */
  readonly perSecond: number
  /** How many answers the attacker had, by status. */
  readonly answers: Readonly<Record<string, number>>
  readonly observed: Observed
}

/** The most that others may wait, as multiples of the calm, and how many of their calls may fail. */
const limits: Readonly<Record<number, { p50: number; p99: number; unserved: number }>> = {
  50: { p50: 2, p99: 4, unserved: 0 },
  1500: { p50: 4, p99: Infinity, unserved: Infinity },
}

const limitedCalls = ['refresh', 'sign-in'] as const satisfies readonly Call[]

/** All that was observed in the calms, as one. */
export function together(calms: readonly Observed[]): Observed {
  const all = (call: Call) => calms.flatMap(({ experience }) => experience.times[call])
  const used = (key: keyof Usage) => sum(calms.map((calm) => calm.used[key]))
  const unserved: Record<string, number> = {}
  for (const { experience } of calms)
    for (const [what, count] of Object.entries(experience.unserved))
      unserved[what] = (unserved[what] ?? 0) + count
  return {
    experience: {
      times: { refresh: all('refresh'), 'sign-in': all('sign-in'), me: all('me') },
      unserved,
    },
    seconds: sum(calms.map(({ seconds }) => seconds)),
    used: {
      nodeSeconds: used('nodeSeconds'),
      postgresSeconds: used('postgresSeconds'),
      families: used('families'),
      events: used('events'),
      limits: used('limits'),
      walBytes: used('walBytes'),
    },
    residentBytes: Math.max(...calms.map(({ residentBytes }) => residentBytes)),
  }
}

/** A phrase for each attack that broke limits, with these. */
export function brokenLimits(calm: Observed, lines: readonly Line[]): string[] {
  return lines.flatMap(({ title, perSecond, observed }) => {
    const atMost = limits[perSecond]!
    const broken = limitedCalls.flatMap((call) => {
      const ratio = ratioOf(observed, calm, call)
      return (['p50', 'p99'] as const)
        .filter((percentile) => ratio[percentile] > atMost[percentile])
        .map((percentile) => `${call} ${percentile} ${ratio[percentile].toFixed(2)} × calm`)
    })
    const unserved = sum(Object.values(observed.experience.unserved))
    if (unserved > atMost.unserved) broken.push(`calls of others not served: ${unserved}`)
    if (broken.length === 0) return []
    return [`${title}, ${perSecond.toLocaleString('en')} a second: ${broken.join(', ')}`]
  })
}

export type Run = {
  /** How long each line was observed. */
  readonly seconds: number
  /** The load average of the machine before the run. */
  readonly load: number
}

/** The block of docs/security/abuse.md. */
export function markdownOf(calm: Observed, lines: readonly Line[], { seconds, load }: Run): string {
  const broken = brokenLimits(calm, lines)
  return [
    `Node ${process.versions.node}, ${availableParallelism()} cores, ${seconds} seconds for each line, load average ${load.toFixed(1)} before the run.`,
    '',
    '| one client sends | a second | its answers | cores: Node, Postgres | memory, MB | families, events, limits a second | WAL, kB/s | refresh, ms | ÷ calm | sign-in, ms | ÷ calm | not served |',
    '|---|---|---|---|---|---|---|---|---|---|---|---|',
    row(['nothing: calm', '0', '–', ...cellsOf(calm, calm)]),
    ...lines.map(({ title, perSecond, answers, observed }) =>
      row([title, perSecond.toLocaleString('en'), counted(answers), ...cellsOf(observed, calm)]),
    ),
    '',
    ...(broken.length === 0
      ? ['Every limit held.']
      : ['Limits that did not hold:', '', ...broken.map((what) => `- ${what}`)]),
  ].join('\n')
}

function cellsOf(observed: Observed, calm: Observed): string[] {
  const { used, seconds, residentBytes, experience } = observed
  const rate = (key: keyof Usage, digits: number) => (used[key] / seconds).toFixed(digits)
  return [
    `${rate('nodeSeconds', 2)}, ${rate('postgresSeconds', 2)}`,
    (residentBytes / 1e6).toFixed(0),
    `${rate('families', 0)}, ${rate('events', 0)}, ${rate('limits', 0)}`,
    (used.walBytes / seconds / 1000).toFixed(0),
    ...limitedCalls.flatMap((call) => {
      const times = percentilesOf(observed, call)
      const ratio = ratioOf(observed, calm, call)
      return [
        `${times.p50.toFixed(0)}/${times.p99.toFixed(0)}`,
        `${ratio.p50.toFixed(1)}/${ratio.p99.toFixed(1)}`,
      ]
    }),
    counted(experience.unserved),
  ]
}

type Percentiles = { readonly p50: number; readonly p99: number }

function ratioOf(observed: Observed, calm: Observed, call: Call): Percentiles {
  const times = percentilesOf(observed, call)
  const calmTimes = percentilesOf(calm, call)
  return { p50: times.p50 / calmTimes.p50, p99: times.p99 / calmTimes.p99 }
}

function percentilesOf({ experience, seconds }: Observed, call: Call): Percentiles {
  const { p50Ms, p99Ms } = summarize(experience.times[call], seconds)
  return { p50: p50Ms, p99: p99Ms }
}

/** `3 × 200, 9 × 429`. */
function counted(counts: Readonly<Record<string, number>>): string {
  const parts = Object.entries(counts).map(([what, count]) => `${count} × ${what}`)
  return parts.length === 0 ? '–' : parts.join(', ')
}

function row(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0)
}
