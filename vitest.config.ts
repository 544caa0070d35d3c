import { defineConfig } from 'vitest/config'
import LongestFirst from './test/support/longest-first.ts'
import StuckReporter from './test/support/stuck-reporter.ts'

export default defineConfig({
  test: {
    globalSetup: './test/support/global-setup.ts',
    reporters: ['default', new StuckReporter()],
    include: ['test/**/*.test.{ts,tsx}'],
    // Tests start real processes, and CI has two cores: these limits leave room for a slow machine.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: 30_000 } },
    // Tests wait for processes and connections half of the time: three keep two cores busy.
    maxWorkers: 3,
    // A worker loads a module once, not once for each file: a tenth of the run.
    isolate: false,
    sequence: { sequencer: LongestFirst },
  },
})
