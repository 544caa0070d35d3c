import { useEffect, useRef, type ReactNode } from 'react'
import uPlot from 'uplot'
import { formatAxis, formatMoment, formatNumber } from '../format.ts'
import { words } from '../words/common.ts'

export type Series = {
  readonly label: string
  /** A custom property of `tokens.css`. */ readonly color: string
  readonly values: readonly number[]
}

const height = 240

/** Steps of the axis: events are whole. */
const counts = [1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7].flatMap((ten) => [ten, 2 * ten, 5 * ten])

/**
 * Counts over time. A chart says nothing to a screen reader: put a table with the same numbers beside it.
 *
 * @param times epoch seconds, ascending
 */
export function Chart({
  label,
  times,
  series,
}: {
  readonly label: string
  readonly times: readonly number[]
  readonly series: readonly Series[]
}): ReactNode {
  const box = useRef<HTMLDivElement>(null)
  useEffect(() => {
    const target = box.current
    if (target === null) return
    const style = getComputedStyle(target)
    const colorOf = (name: string) => style.getPropertyValue(name)
    const axis = {
      stroke: colorOf('--text-faint'),
      grid: { stroke: colorOf('--line'), width: 1 },
      ticks: { stroke: colorOf('--line'), width: 1 },
    }
    const lengthMs = ((times.at(-1) ?? 0) - (times[0] ?? 0)) * 1000
    const options: uPlot.Options = {
      width: target.clientWidth,
      height,
      axes: [
        { ...axis, values: (_plot, ticks) => ticks.map((at) => formatAxis(at * 1000, lengthMs)) },
        { ...axis, incrs: counts, values: (_plot, ticks) => ticks.map(formatNumber) },
      ],
      scales: { y: { range: { min: { soft: 0, mode: 1 }, max: { pad: 0.1, soft: 1, mode: 1 } } } },
      series: [
        { label: words.when, value: (_plot, at) => (at === null ? '' : formatMoment(at * 1000)) },
        ...series.map((one) => ({ label: one.label, stroke: colorOf(one.color), width: 2 })),
      ],
    }
    const plot = new uPlot(
      options,
      [[...times], ...series.map(({ values }) => [...values])],
      target,
    )
    const observer = new ResizeObserver(() => plot.setSize({ width: target.clientWidth, height }))
    observer.observe(target)
    return () => {
      observer.disconnect()
      plot.destroy()
    }
  }, [times, series])
  return <div ref={box} className="chart" role="img" aria-label={label} />
}
