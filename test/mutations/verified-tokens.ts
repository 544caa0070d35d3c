import { mutationsOf } from './mutation.ts'

const inCache = ['test/verifier/verified-tokens.test.ts']

/** docs/guides/services.md: what is asked anew for a token that was accepted before, and where the verifier runs. */
export const verifiedTokens = [
  ...mutationsOf('server/verifier/verified-tokens.ts', inCache, [
    [
      'a kept token is accepted after it has expired',
      ' && at < claims.expiresAt + clockToleranceSeconds * 1000',
      '',
    ],
    ['a kept token is accepted before its time', 'at >= verifiedAt && ', ''],
    [
      'a kept token is accepted when its key is gone or replaced',
      ' && (await isKeyInUse(entry.signer))',
      '',
    ],
    [
      'a kept token is found by its beginning',
      "hash === undefined ? (token) => token : (token) => hash('sha256', token, 'base64')",
      '(token) => token.slice(0, 600)',
    ],
    ['the cache has no bound', 'if (young.size >= Math.floor(max / 2)) {', 'if (false) {'],
    ['a token in use drops out with the others', '    keep(name, older)\n', ''],
  ]),
  ...mutationsOf('server/verifier/verify-access-token.ts', inCache, [
    [
      'a call can change the claims of the next',
      'Object.freeze(claimsOf(payload, expected))',
      'claimsOf(payload, expected)',
    ],
  ]),
  ...mutationsOf(
    'server/verifier/trpc.ts',
    ['test/verifier/trpc.test.ts'],
    [
      [
        "a team's own tRPC service does not say why it refused a call",
        'data: { ...shape.data, ...data }',
        'data: shape.data',
      ],
    ],
  ),
  ...mutationsOf(
    'server/verifier/revocations/signal.ts',
    ['test/verifier/edge.test.ts'],
    [["the verifier needs Node's timers", '        unref(timer)\n', '        timer.unref()\n']],
  ),
]
