import { mutationsOf } from './mutation.ts'

const attacked = ['test/attack/audiences.test.ts']
const exchanged = ['test/procedures/token-exchange.test.ts']
const client = ['test/client/audiences.test.ts']

/** docs/guides/audiences.md: each service has an audience of its own. */
export const audiences = [
  ...mutationsOf('server/procedures/tokens.ts', attacked, [
    [
      'an access token is exchanged for any audience',
      'if (!config.accessTokenAudiences.includes(audience))',
      'if (audience === config.accessTokenAudience)',
    ],
    [
      'an access token is exchanged for one of this service',
      'if (!config.accessTokenAudiences.includes(audience))',
      'if (![config.accessTokenAudience, ...config.accessTokenAudiences].includes(audience))',
    ],
  ]),
  ...mutationsOf('server/tokens/access-token.ts', exchanged, [
    [
      'an exchange makes a token live longer',
      'audience: other, issuedAt }',
      'audience: other, issuedAt, expiresAt: issuedAt + lifetimeMs }',
    ],
    ['an exchange keeps the audience', 'audience: other, issuedAt }', 'audience, issuedAt }'],
    ['an expired token is exchanged', '      if (expiresIn < 1) return null\n', ''],
  ]),
  ...mutationsOf(
    'server/config/config.ts',
    ['test/config/config.test.ts'],
    [
      [
        'the audience of the service itself is one of the others',
        '  if (!env.ACCESS_TOKEN_AUDIENCES.includes(ownAudience)) return []\n',
        '  if (ownAudience !== undefined) return []\n',
      ],
    ],
  ),
  ...mutationsOf('client/options.ts', client, [
    [
      'the client sends its own token to every origin',
      'audience: audiences.get(origin) }',
      'audience: undefined }',
    ],
  ]),
  ...mutationsOf('client/lifecycle/token-exchange.ts', client, [
    [
      'each call of the client asks for a token',
      '    if (known !== undefined) return known\n',
      '    if (known === null) return known\n',
    ],
    [
      'the client uses a token that was exchanged before a sign-out',
      'if (held === own.heldToken() && other !== rejected)',
      'if (other !== rejected)',
    ],
    [
      'the client repeats a call with the token that was refused',
      'if (held === own.heldToken() && other !== rejected)',
      'if (held === own.heldToken())',
    ],
  ]),
]
