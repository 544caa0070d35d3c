import type { JobResult } from './load.ts'

export function summarize(latencies: readonly number[], seconds: number): JobResult {
  const sorted = Float64Array.from(latencies).toSorted()
  const at = (share: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
  return {
    count: sorted.length,
    seconds,
    p50Ms: at(0.5) ?? Number.NaN,
    p99Ms: at(0.99) ?? Number.NaN,
    maxMs: sorted.at(-1) ?? Number.NaN,
  }
}
