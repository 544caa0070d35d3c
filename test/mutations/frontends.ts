import { mutationsOf } from './mutation.ts'

const processes = ['test/client/server/two-processes.test.ts']
const ended = ['test/client/server/ended-session.test.ts']
const cookie = ['test/client/server/cookie.test.ts']
const react = ['test/browser/react.test.tsx']
const queryClient = ['test/client/react/query-client.test.ts']

/** docs/guides/react.md and docs/guides/server-rendering.md */
export const frontends = [
  ...mutationsOf('client/server/session-cookie.ts', processes, [
    [
      'an app makes a new attempt for each request',
      'attemptId: await seal.attemptIdOf(held.refreshToken)',
      'attemptId: crypto.randomUUID()',
    ],
  ]),
  ...mutationsOf('client/server/server-session.ts', processes, [
    [
      'a component rotates',
      "if (readOnly) return { status: 'unknown'",
      "if (readOnly && leftMs === 0) return { status: 'unknown'",
    ],
    ['a CDN may keep a page with a session', "'private, no-store'", "'public, max-age=60'"],
  ]),
  ...mutationsOf('client/server/handler.ts', processes, [
    ['an app answers pages of any origin', '    checkOrigin(request)\n', ''],
  ]),
  ...mutationsOf('client/server/handler.ts', ended, [
    ['a page does not notice that its session was ended', 'request, { check: true }', 'request'],
  ]),
  ...mutationsOf('client/server/seal.ts', cookie, [
    [
      'a cookie opens under another name',
      'additionalData: bytesOf(purpose)',
      "additionalData: bytesOf('')",
    ],
  ]),
  ...mutationsOf('client/react/query-client.ts', react, [
    [
      'the next person sees the answers of the last',
      '    queryClient.resetQueries().catch(() => {})\n',
      '',
    ],
    [
      'a query that was refused is retried',
      '    if (isUnauthorized(error, final)) return false\n',
      '',
    ],
  ]),
  ...mutationsOf('client/react/query-client.ts', queryClient, [
    ['a mutation that another sign-in overtook is retried', 'session)_|superseded/', 'session)_/'],
    [
      'a mutation that sleeps runs as the next person',
      '  mutation.setOptions({ ...mutation.options, mutationFn: refuse })\n',
      '',
    ],
    [
      'a component gives a mutation back what it ran before',
      '  mutation.setOptions = () => {}\n',
      '',
    ],
  ]),
  ...mutationsOf('client/react/provider.ts', react, [
    [
      'components keep what they show when a person leaves',
      '{ key: seen.departures }',
      '{ key: 0 }',
    ],
    [
      'a provider that StrictMode undoes disposes of the client',
      '  useEffect(() => void auth.restore(), [auth])\n',
      '  useEffect(() => {\n    void auth.restore()\n    return () => auth.dispose()\n  }, [auth])\n',
    ],
  ]),
]
