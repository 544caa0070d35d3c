import { readdirSync, readFileSync } from 'node:fs'
import { postmasterPidIn } from './owner-process.ts'

/** Seconds of CPU a process has used so far; NaN where there is no /proc. */
export function cpuSecondsOf(pid: number): number {
  return statOf(pid)?.cpuSeconds ?? Number.NaN
}

/** Seconds of CPU that the main thread of a process has used so far: a Node process runs all JavaScript on it. */
export function mainThreadSecondsOf(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1e9
  } catch {
    return Number.NaN
  }
}

/** Seconds of CPU of Postgres and of all its processes, including ended ones. */
export function postgresCpuSeconds(dataDir: string): number {
  const postmaster = postmasterPidIn(dataDir)
  const own = statOf(postmaster)
  if (own === null) return Number.NaN
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => statOf(Number(name)))
    .filter((stat) => stat?.parent === postmaster)
    .reduce((sum, stat) => sum + stat!.cpuSeconds, own.cpuSeconds + own.childrenCpuSeconds)
}

/** Linux counts in hundredths of a second (`getconf CLK_TCK`). */
const ticksPerSecond = 100

function statOf(pid: number) {
  try {
    // After the name, which may hold any character: state, parent, … (proc_pid_stat(5)).
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')
    const ticks = (...at: number[]) => at.reduce((sum, i) => sum + Number(fields[i]), 0)
    return {
      parent: Number(fields[1]),
      cpuSeconds: ticks(11, 12) / ticksPerSecond,
      childrenCpuSeconds: ticks(13, 14) / ticksPerSecond,
    }
  } catch {
    return null
  }
}

/** Bytes of memory that a process holds; NaN where there is no /proc. */
export function residentBytesOf(pid: number): number {
  try {
    const [, kilobytes] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))!
    return Number(kilobytes) * 1024
  } catch {
    return Number.NaN
  }
}
