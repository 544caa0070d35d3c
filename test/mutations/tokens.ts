import { mutationsOf } from './mutation.ts'

/** docs/reference/rotation.md: the MAC is checked first, and a token has one successor. */
export const tokens = [
  ...mutationsOf(
    'server/tokens/refresh-token.ts',
    ['test/tokens/refresh-token.test.ts'],
    [
      ['the MAC is not checked', '  if (!isAuthentic) return null\n', ''],
      [
        'the MAC does not cover the family and the generation',
        "createHmac('sha256', key.mac)\n    .update(body)",
        "createHmac('sha256', key.mac)\n    .update(body.subarray(secretAt))",
      ],
      ['a token has two spellings', '{90}[AEIMQUYcgkosw048]$/', '{91}$/'],
      [
        'a token of the previous secret is refused',
        'const isAuthentic = keys.some(',
        'const isAuthentic = keys.slice(0, 1).some(',
      ],
      ['a successor needs no predecessor', '    .update(token.secret)\n', ''],
      ['a successor needs no salt', '    .update(salt)\n', ''],
      [
        'a successor is the same in every family',
        '    .update(head)\n',
        '    .update(head.subarray(16))\n',
      ],
      [
        'a successor is the same in every generation',
        '    .update(head)\n',
        '    .update(head.subarray(0, 16))\n',
      ],
      [
        'a successor needs no secret of the server',
        "createHmac('sha256', key.ratchet)",
        "createHmac('sha256', prefix)",
      ],
      [
        'a successor made before the secret was changed is lost',
        'const successors = keys.map(',
        'const successors = keys.slice(0, 1).map(',
      ],
      [
        'the ledger keeps the secret itself',
        "return hash('sha256', secret, 'buffer')",
        'return Buffer.from(secret)',
      ],
      ['a first token is not random', 'return randomBytes(32)', 'return Buffer.alloc(32)'],
    ],
  ),
  ...mutationsOf(
    'server/procedures/next-token.ts',
    ['test/sessions/session-rules.test.ts'],
    [
      [
        'the database is asked before the MAC',
        '  const token = tokenToRefresh(',
        '  await readEpoch(deps.database, unknownUserId)\n  const token = tokenToRefresh(',
      ],
    ],
  ),
  ...mutationsOf(
    'server/procedures/next-token.ts',
    ['test/http/auth-rules.test.ts'],
    [
      [
        'a refresh that lost a race clears the cookie',
        'if (error instanceof RefreshRefused && error.isFinal && transport',
        'if (error instanceof RefreshRefused && transport',
      ],
    ],
  ),
  ...mutationsOf(
    'server/procedures/grant.ts',
    ['test/sessions/rotation-rules.test.ts'],
    [
      [
        'a cookie family has its token in the body as well',
        "...(transport === 'body' && { refreshToken: token.value }),",
        'refreshToken: token.value,',
      ],
      [
        'a body family has its token in a cookie as well',
        "if (transport === 'cookie') cookie.set(",
        'if (transport) cookie.set(',
      ],
    ],
  ),
]
