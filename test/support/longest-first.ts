import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** The files that take longest. A new file belongs here when it takes more than half a minute. */
const longest = [
  'examples/next',
  'examples/sveltekit',
  'examples/vite-react',
  'examples/expo',
  'attack/restored-copy',
  'attack/signing-keys',
  'revocation/service',
  'sessions/revoke-race',
  'faults/faults',
  'embedded-postgres/embedded-postgres',
  'browser/outages',
  'revocation/feed',
  'verifier/revocations',
  'package/package',
  'faults/lost-answer',
  'attack/input-fuzz',
  'browser/faulty-line',
  'browser/six-tabs',
  'revocation/followers',
  'client/native',
  'sessions/rotation-race',
  'faults/theft',
  'observability/tracing',
  'db/silence',
  'cli/user',
  'attack/held-locks',
]

/** Begins the longest files first, so that no worker runs one alone while the others have nothing left to do. */
export default class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return files.toSorted((a, b) => rankOf(a) - rankOf(b))
  }
}

function rankOf({ moduleId }: TestSpecification): number {
  const rank = longest.findIndex((file) => moduleId.endsWith(`/test/${file}.test.ts`))
  return rank === -1 ? longest.length : rank
}
