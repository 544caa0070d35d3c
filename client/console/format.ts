/** Texts of the console are English; dates and numbers follow the reader's own settings. */
const locales = globalThis.navigator?.languages

const numbers = new Intl.NumberFormat(locales)
const percents = new Intl.NumberFormat(locales, { style: 'percent', maximumFractionDigits: 1 })
const moments = new Intl.DateTimeFormat(locales, { dateStyle: 'medium', timeStyle: 'medium' })
const moreExact = new Intl.DateTimeFormat(locales, {
  dateStyle: 'medium',
  timeStyle: 'long',
  timeZone: 'UTC',
})
const times = new Intl.DateTimeFormat(locales, { timeStyle: 'medium' })
const days = new Intl.DateTimeFormat(locales, { dateStyle: 'medium' })
const shortTimes = new Intl.DateTimeFormat(locales, { timeStyle: 'short' })
const shortDays = new Intl.DateTimeFormat(locales, { month: 'short', day: 'numeric' })
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' })
const plurals = new Intl.PluralRules('en')
const lists = new Intl.ListFormat('en', { style: 'narrow', type: 'unit' })

const units = [
  ['day', 24 * 3600 * 1000],
  ['hour', 3600 * 1000],
  ['minute', 60 * 1000],
  ['second', 1000],
] as const

export function formatNumber(value: number): string {
  return numbers.format(value)
}

/** @param share 1 is all */
export function formatShare(share: number): string {
  return percents.format(share)
}

/** In the reader's own zone. @param at ISO 8601 or epoch milliseconds */
export function formatMoment(at: string | number): string {
  return moments.format(new Date(at))
}

export function formatUtc(at: string | number): string {
  return moreExact.format(new Date(at))
}

/** For an axis: the time alone within a day of `fromAt`, else the date. */
export function formatTick(at: number, fromAt: string): string {
  const isWithinDay = at - new Date(fromAt).getTime() < 24 * 3600 * 1000
  return (isWithinDay ? times : days).format(at)
}

/** For a chart of this length: the time alone if it is a day or two, else the date. */
export function formatAxis(at: number, lengthMs: number): string {
  return (lengthMs < 2 * 24 * 3600 * 1000 ? shortTimes : shortDays).format(at)
}

/** `3 minutes ago`, `in 2 days`. */
export function formatAgo(at: string | number, now: number): string {
  const ms = new Date(at).getTime() - now
  const [unit, size] = units.find(([, span]) => Math.abs(ms) >= span) ?? units[3]
  return relative.format(Math.trunc(ms / size), unit)
}

/** `2 days 3 hr`: at most two units, and milliseconds below a second. */
export function formatDuration(ms: number): string {
  if (ms < 1_000) return unitOf(Math.round(ms), 'millisecond')
  const parts: string[] = []
  let left = ms
  for (const [unit, size] of units) {
    const count = Math.floor(left / size)
    left -= count * size
    if (count > 0 && parts.length < 2) parts.push(unitOf(count, unit))
    else if (parts.length > 0) break
  }
  return lists.format(parts)
}

/** `1 session`, `1,200 sessions`. */
export function formatCount(count: number, forms: { one: string; other: string }): string {
  return `${formatNumber(count)} ${plurals.select(count) === 'one' ? forms.one : forms.other}`
}

function unitOf(count: number, unit: string): string {
  return new Intl.NumberFormat('en', { style: 'unit', unit, unitDisplay: 'short' }).format(count)
}
