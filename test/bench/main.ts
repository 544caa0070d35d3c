import { parseArgs } from 'node:util'
import { createBench, type Bench } from './bench.ts'
import { benchConsoleScale } from './console-scale.ts'
import { benchGrowth } from './growth.ts'
import { benchIsolation } from './isolation.ts'
import { benchListing } from './listing.ts'
import { benchLog } from './log.ts'
import { benchMemory } from './memory.ts'
import { benchMonths } from './months.ts'
import { benchProcedures } from './procedures.ts'
import { benchProcesses } from './processes-count.ts'
import { report } from './report.ts'
import { benchRotation } from './rotation.ts'
import { benchVerifier } from './verifier.ts'

const parts: Record<string, (bench: Bench) => Promise<void>> = {
  rotation: benchRotation,
  procedures: benchProcedures,
  verifier: benchVerifier,
  growth: benchGrowth,
  months: benchMonths,
  listing: benchListing,
  log: benchLog,
  'console-scale': benchConsoleScale,
  processes: benchProcesses,
  isolation: benchIsolation,
  memory: benchMemory,
}

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    seconds: { type: 'string', default: '4' },
    rounds: { type: 'string', default: '3' },
    large: { type: 'boolean', default: false },
  },
})
const chosen = values.only ?? Object.keys(parts)
const unknown = chosen.find((name) => !(name in parts))
if (unknown !== undefined) {
  console.error(`unknown part ${unknown}; the parts are: ${Object.keys(parts).join(', ')}`)
  process.exit(3)
}

const bench = await createBench({
  seconds: Number(values.seconds),
  rounds: Number(values.rounds),
  large: values.large,
})
try {
  for (const name of chosen) {
    bench.say(name)
    await parts[name]!(bench)
  }
  report(bench)
} finally {
  await bench.stop()
}
