import { mutationsOf } from './mutation.ts'

const passwords = ['test/users/passwords.test.ts']
const breached = ['test/users/breached-passwords.test.ts']

/** What new passwords are refused, and what a token says about an address. */
export const users = [
  ...mutationsOf('server/users/password-rule.ts', passwords, [
    [
      'a common password is accepted in capitals',
      'commonPasswords.has(lower)',
      'commonPasswords.has(normal)',
    ],
    ['a password that repeats a piece is accepted', ' || isRepetition(lower)', ''],
    [
      'a password may be the own address',
      '  if (isMadeOf(knownWords(email), lower))\n',
      '  if (isMadeOf([], lower))\n',
    ],
    [
      'a password may be the domain of the own address',
      '[email, local, domain, ...domain.split',
      '[email, local, ...domain.split',
    ],
    ['a password may be the name of the product', ', ...productNames]', ']'],
  ]),
  ...mutationsOf('server/users/breached-passwords.ts', breached, [
    [
      'the look-up of leaked passwords gets the whole hash',
      'find(hash.slice(0, prefixLength))',
      'find(hash)',
    ],
    [
      'the look-up of leaked passwords may be silent',
      'await Promise.race([answer, timeout])',
      'await answer',
    ],
  ]),
  ...mutationsOf('server/procedures/auth.ts', breached, [
    [
      'a leaked password is registered',
      "  await mustNotBeBreached(deps, { field: 'password', password })\n",
      '  void mustNotBeBreached\n',
    ],
  ]),
  ...mutationsOf('server/procedures/account.ts', breached, [
    [
      'a password is changed to a leaked one',
      "    await mustNotBeBreached(deps, { field: 'newPassword', password })\n",
      '    void mustNotBeBreached\n',
    ],
  ]),
  ...mutationsOf('server/procedures/admin/users.ts', breached, [
    [
      'an admin creates a user with a leaked password',
      '      await mustNotBeBreached(ctx.deps, chosen)\n',
      '      void mustNotBeBreached\n',
    ],
  ]),
  ...mutationsOf(
    'server/tokens/access-token.ts',
    ['test/users/email-verified.test.ts'],
    [
      [
        'every address is called verified',
        'emailVerified: user.emailVerified === true,',
        'emailVerified: true,',
      ],
      [
        'an exchange forgets that an address was verified',
        '{ ...claims, issuer',
        '{ ...claims, emailVerified: false, issuer',
      ],
    ],
  ),
  ...mutationsOf(
    'server/verifier/verify-access-token.ts',
    ['test/verifier/confusions.test.ts'],
    [
      [
        'an address is verified if the token does not say',
        'email_verified: value = false }',
        'email_verified: value = true }',
      ],
      [
        'email_verified may be of any type',
        "  if (typeof value !== 'boolean') throw invalid('email_verified is not a boolean')\n  return value\n",
        '  return Boolean(value)\n',
      ],
    ],
  ),
]
