import type { LifeEvent, SessionLife } from './session-life.ts'

const margin = { top: 28, right: 20, bottom: 30, left: 44 }
const height = 260
const tickWidth = 120

export type Mark = { readonly event: LifeEvent; readonly x: number; readonly y: number }

/** Where everything of the picture goes, in pixels. */
export type Layout = {
  readonly width: number
  readonly height: number
  readonly plot: {
    readonly left: number
    readonly right: number
    readonly top: number
    readonly bottom: number
  }
  /** The current generation over time, as the steps of an SVG path. */
  readonly steps: string
  readonly marks: readonly Mark[]
  /** From a rotation to where the token that it spent came back. */
  readonly returns: readonly { readonly event: LifeEvent; readonly path: string }[]
  readonly times: readonly { readonly at: number; readonly x: number }[]
  readonly generations: readonly { readonly generation: number; readonly y: number }[]
  readonly xOf: (at: number) => number
}

/** The time that the picture and the slider show, in epoch milliseconds. */
export function spanOf(session: SessionLife, now: number): { fromAt: number; toAt: number } {
  const { status, createdAt, endedAt, expiresAt, events } = session
  const newestAt = timeOf(events.at(-1)?.occurredAt ?? createdAt)
  const endAt = status === 'active' ? now : timeOf(endedAt ?? expiresAt)
  const fromAt = timeOf(createdAt)
  // One second at least: a session may have ended in the moment it began. The clock of this device may be behind.
  return { fromAt, toAt: Math.max(endAt, newestAt, fromAt + 1_000) }
}

export function layOut(
  { events }: SessionLife,
  { fromAt, toAt }: { fromAt: number; toAt: number },
  width: number,
): Layout {
  const left = margin.left
  const right = Math.max(width - margin.right, left + 1)
  const bottom = height - margin.bottom
  const lowest = Math.min(...events.map(heightOf))
  const highest = Math.max(...events.map((event) => event.generation), lowest + 1)
  const xOf = (at: number) => round(left + ((at - fromAt) / (toAt - fromAt)) * (right - left))
  const yOf = (generation: number) =>
    round(bottom - ((generation - lowest) / (highest - lowest)) * (bottom - margin.top))
  const marks = events.map((event) => ({
    event,
    x: xOf(timeOf(event.occurredAt)),
    y: yOf(heightOf(event)),
  }))
  return {
    width,
    height,
    plot: { left, right, top: margin.top, bottom },
    steps: stepsOf(events, { xOf, yOf, right }),
    marks,
    returns: marks.flatMap(({ event, x, y }) => {
      if (event.comeBack === null) return []
      return [{ event, path: `M${xOf(timeOf(event.comeBack.spentAt))} ${y}H${x}` }]
    }),
    times: evenly(Math.max(1, Math.floor((right - left) / tickWidth))).map((share) => {
      const at = fromAt + share * (toAt - fromAt)
      return { at, x: xOf(at) }
    }),
    generations: [lowest, highest].map((generation) => ({ generation, y: yOf(generation) })),
    xOf,
  }
}

/** A token that came back is drawn at its own generation, everything else at the current one. */
function heightOf({ kind, generation, presentedGeneration }: LifeEvent): number {
  return kind === 'reuse_detected' || kind === 'replayed'
    ? (presentedGeneration ?? generation)
    : generation
}

function stepsOf(
  events: readonly LifeEvent[],
  { xOf, yOf, right }: { xOf: (at: number) => number; yOf: (g: number) => number; right: number },
): string {
  const steps = events
    .filter(({ kind }) => kind === 'issued' || kind === 'rotated' || kind === 'reauthenticated')
    .map(({ occurredAt, generation }, index) => {
      const [x, y] = [xOf(timeOf(occurredAt)), yOf(generation)]
      return index === 0 ? `M${x} ${y}` : `H${x}V${y}`
    })
  return steps.length === 0 ? '' : `${steps.join('')}H${right}`
}

function evenly(parts: number): number[] {
  return Array.from({ length: parts + 1 }, (_, index) => index / parts)
}

function timeOf(at: string): number {
  return new Date(at).getTime()
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
