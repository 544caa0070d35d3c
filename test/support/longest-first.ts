import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** The files that take longest. A new file belongs here when it takes more than twenty seconds. */
const longest = [
  'examples/next',
  'examples/sveltekit',
  'examples/vite-react',
  'examples/expo',
  'package/package',
  'embedded-postgres/embedded-postgres',
  'faults/faults',
  'browser/outages',
  'browser/cookie-tossing',
  'revocation/service',
  'revocation/feed',
  'verifier/revocations',
  'console/account',
  'console/admin-screens',
  'attack/input-fuzz',
  'browser/six-tabs',
  'browser/react',
  'sessions/rotation-race',
  'browser/theft',
  'faults/lost-answer',
  'docs/shell',
  'browser/killed',
  'client/native',
  'observability/tracing',
  'revocation/followers',
  'audit/tail',
  'attack/restored-copy',
  'embedded-postgres/binaries',
  'browser/faulty-line',
  'browser/clocks',
]

/** Begins the longest files first, so that no worker runs one alone while the others have nothing left to do. */
export default class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return files.toSorted((a, b) => rankOf(a) - rankOf(b))
  }
}

function rankOf({ moduleId }: TestSpecification): number {
  const rank = longest.findIndex((file) => moduleId.includes(`/test/${file}.test.ts`))
  return rank === -1 ? longest.length : rank
}
