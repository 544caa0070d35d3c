const dayMs = 24 * 3_600_000
const periods = { week: 7 * dayMs, month: 30 * dayMs, all: null } as const

export type Period = keyof typeof periods

/** @returns from when on incidents are listed, as the procedures take it */
export function fromOf(period: Period): { from?: string } {
  const lengthMs = periods[period]
  return lengthMs === null ? {} : { from: new Date(Date.now() - lengthMs).toISOString() }
}
