import type { ReactNode } from 'react'
import { formatCount, formatMoment, formatTick } from '../../format.ts'
import { kindWords } from '../../words/session-terms.ts'
import { words } from '../../words/session.ts'
import type { Layout, Mark } from './layout.ts'
import type { SessionLife } from './session-life.ts'

/** The life of a session as a picture: generations along time, tokens that came back, and the end. */
export function Picture({
  session,
  layout,
  at,
}: {
  readonly session: SessionLife
  readonly layout: Layout
  /** The moment that the slider is at. */
  readonly at: number
}): ReactNode {
  const { width, height, plot } = layout
  const cursor = layout.xOf(at)
  return (
    <svg
      className="picture"
      viewBox={`0 0 ${width} ${height}`}
      width={width}
      height={height}
      role="img"
      aria-label={summaryOf(session)}
    >
      {layout.generations.map(({ generation, y }) => (
        <g key={generation}>
          <line className="grid" x1={plot.left} x2={plot.right} y1={y} y2={y} />
          <text className="tick" x={plot.left - 8} y={y + 4} textAnchor="end">
            {generation}
          </text>
        </g>
      ))}
      {layout.times.map(({ at: tickAt, x }, index) => (
        <text
          key={tickAt}
          className="tick"
          x={x}
          y={height - 8}
          textAnchor={anchorOf(index, layout.times.length)}
        >
          {formatTick(tickAt, session.createdAt)}
        </text>
      ))}
      <path className="steps" d={layout.steps} />
      {layout.returns.map(({ event, path }) => (
        <path key={event.seq} className={`return ${event.kind}`} d={path} />
      ))}
      {layout.marks.map((mark) => (
        <Shape key={mark.event.seq} mark={mark} plot={plot} />
      ))}
      <line className="cursor" x1={cursor} x2={cursor} y1={plot.top - 12} y2={plot.bottom} />
    </svg>
  )
}

function Shape({ mark, plot }: { readonly mark: Mark; readonly plot: Layout['plot'] }): ReactNode {
  const { event, x, y } = mark
  const title = (
    <title>{`${event.seq}: ${kindWords[event.kind]}, ${formatMoment(event.occurredAt)}`}</title>
  )
  switch (event.kind) {
    case 'issued':
      return (
        <circle className="issued" cx={x} cy={y} r={6}>
          {title}
        </circle>
      )
    case 'rotated':
      return (
        <circle className="rotated" cx={x} cy={y} r={3.5}>
          {title}
        </circle>
      )
    case 'reauthenticated':
      return (
        <circle className="reauthenticated" cx={x} cy={y} r={6}>
          {title}
        </circle>
      )
    case 'replayed':
      return (
        <path className="replayed" d={`M${x} ${y - 6}l6 6l-6 6l-6 -6z`}>
          {title}
        </path>
      )
    case 'reuse_detected':
      return (
        <g className="reuse_detected">
          {title}
          <line x1={x} x2={x} y1={plot.top} y2={plot.bottom} />
          <path d={`M${x - 6} ${y - 6}l12 12m0 -12l-12 12`} />
          <text
            x={x - 10}
            y={plot.top - 8}
            textAnchor={x > (plot.left + plot.right) / 2 ? 'end' : 'start'}
          >
            {event.ip === null ? words.legend.reuse_detected : `${words.cameBackFrom} ${event.ip}`}
          </text>
        </g>
      )
    case 'revoked':
      return (
        <g className="revoked">
          {title}
          <line x1={x} x2={x} y1={plot.top} y2={plot.bottom} />
          <rect x={x - 5} y={y - 5} width={10} height={10} />
        </g>
      )
  }
}

function summaryOf({ rotations, events, status }: SessionLife): string {
  const replays = events.filter(({ kind }) => kind === 'replayed').length
  return words.picture(
    formatCount(rotations + 1, { one: words.generationsOne, other: words.generationsOther }),
    formatCount(replays, { one: words.replaysOne, other: words.replaysOther }),
    status === 'active' ? words.endsActive : words.endsOver,
  )
}

/** The outer labels stay inside of the picture. */
function anchorOf(index: number, count: number): 'start' | 'middle' | 'end' {
  if (index === 0) return 'start'
  return index === count - 1 ? 'end' : 'middle'
}
