import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

/** The oldest versions without a published vulnerability that affects this service. */
test.each([
  ['fastify', '5.12.2', 'CVE-2026-84428, CVE-2026-16732, CVE-2026-33806, CVE-2026-25223'],
  ['@trpc/server', '11.15.0', 'maxBatchSize; CVE-2025-68130, CVE-2025-43855'],
])('HT-11 (ASVS 15.2.1): every %s that is installed is %s or newer: %s', (name, oldest) => {
  const lock = JSON.parse(readFileSync('package-lock.json', 'utf8')) as {
    packages: Record<string, { version: string }>
  }
  const installed = Object.entries(lock.packages).filter(([path]) =>
    path.endsWith(`node_modules/${name}`),
  )
  expect(installed).not.toHaveLength(0)
  for (const [, { version }] of installed)
    expect(version.localeCompare(oldest, 'en', { numeric: true })).toBeGreaterThanOrEqual(0)
})

test('what tests alone import brings no second copy of what the service uses: errors of two copies are of two classes', () => {
  const lock = JSON.parse(readFileSync('test/package-lock.json', 'utf8')) as {
    packages: Record<string, unknown>
  }
  const { dependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as {
    dependencies: Record<string, string>
  }
  const copies = Object.keys(dependencies).filter((name) => `node_modules/${name}` in lock.packages)
  expect(copies).toEqual([])
})
