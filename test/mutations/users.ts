import { mutationsOf } from './mutation.ts'

const passwords = ['test/users/passwords.test.ts']
const proved = ['test/users/proved-sign-in.test.ts']
const breached = ['test/users/breached-passwords.test.ts']

const subjects = ['test/users/subjects.test.ts']

/** What new passwords are refused, what a token says about an address, and sign-ins of the team's own. */
export const users = [
  ...mutationsOf('db/subjects.ts', subjects, [
    [
      'the text of a derived id makes its user the other one',
      'uuid.test(subject) && !isDerived(subject)',
      'uuid.test(subject)',
    ],
    [
      'a user id may have a control character',
      '[^\\p{Control}\\p{Surrogate}]',
      '[^\\p{Surrogate}]',
    ],
    ['a user id may have 256 characters', '{1,255}$/u', '{1,256}$/u'],
    [
      'users whose ids differ in case share their sessions',
      'derivedFrom + subject,',
      'derivedFrom + subject.toLowerCase(),',
    ],
    [
      'a refresh takes a user whom the directory has under another id',
      'user?.id === ledgerId || isDerived(ledgerId)',
      'user !== undefined || isDerived(ledgerId)',
    ],
    [
      'a list filtered by the shown id of an erased user is empty',
      '.has(ledgerId) ? ledgerId : text',
      '.has(ledgerId) ? ledgerId : ledgerId',
    ],
  ]),
  ...mutationsOf('server/cli/acts.ts', subjects, [
    [
      'an erasure of an unknown id is recorded',
      '  if (await isKnownUser(deps.database, ledgerIdOf(subject))) return subject\n',
      "  if (subject !== '' || (await isKnownUser(deps.database, ledgerIdOf(subject)))) return subject\n",
    ],
  ]),
  ...mutationsOf('server/admin/sessions.ts', subjects, [
    [
      'a revocation keeps the text of an erased user',
      '        targetUserId: userId,\n        reason,\n      }),\n  })\n}\n',
      '        targetUserId: await (await import("../../db/subjects.ts")).keepSubject(transaction, subject),\n        reason,\n      }),\n  })\n}\n',
    ],
  ]),
  ...mutationsOf('server/cli/sessions.ts', subjects, [
    ['a user of a directory of UUIDs is shown as erased', '...ids.filter(isDerived), ', '...ids, '],
  ]),
  ...mutationsOf('server/procedures/auth.ts', subjects, [
    [
      'a refused first sign-in is logged with a derived id',
      'subject: signedIn?.id, accountHash }',
      'subject: undefined, accountHash }',
    ],
  ]),
  ...mutationsOf('server/users/subjects.ts', subjects, [
    [
      'each log line about an erased user costs a query',
      '      missedAt.set(id, now())\n',
      '      missedAt.delete(id)\n',
    ],
  ]),
  ...mutationsOf('server/users/team-directory.ts', subjects, [
    [
      'a sign-in takes a user whom the directory has under another id',
      '  return user?.id === id ? user : undefined\n',
      '  return user\n',
    ],
    [
      'a directory is asked by derived ids',
      'const subject = isDerived(id) ? texts.get(id) : id',
      'const subject = texts.has(id) ? id : id',
    ],
  ]),
  ...mutationsOf('server/procedures/access.ts', subjects, [
    [
      'a caller acts for the user whose id differs in case',
      '  const userId = ledgerIdOf(session.userId)\n',
      '  const userId = ledgerIdOf(session.userId.toLowerCase())\n',
    ],
  ]),
  ...mutationsOf('server/audit/verify-export.ts', subjects, [
    [
      'an export may have a text that its user id is not derived from',
      'if (record.subject && ledgerIdOf(record.subject) !== record.userId)',
      'if (record.subject === "")',
    ],
  ]),
  ...mutationsOf('server/observability/security-log.ts', subjects, [
    ['the log names users by derived ids', 'subjects.get(userId) ?? userId }', 'userId }'],
  ]),
  ...mutationsOf(
    'server/http/auth-context.ts',
    ['test/faults/late-request.test.ts'],
    [
      [
        'a refresh is carried out however long it has waited',
        'performance.now() - arrivedAt < maxWaitMs',
        'arrivedAt < Infinity && maxWaitMs > 0',
      ],
    ],
  ),
  ...mutationsOf('server/http/auth-context.ts', proved, [
    [
      'a service without SIGN_IN_TOKEN signs users in',
      '!hasSharedToken(request, signInToken)',
      'false',
    ],
    ['a page signs users in by SIGN_IN_TOKEN', 'request.headers.origin !== undefined', 'false'],
    [
      'a callback of an identity provider needs an Origin',
      " && request.method !== 'GET' })",
      ' || beginsSession })',
    ],
  ]),
  ...mutationsOf('server/procedures/proved-sign-in.ts', proved, [
    ['a disabled user is signed in by a proof', ' || user.disabled', ''],
    [
      'a request that is sent twice starts two sessions',
      'if (!(await ctx.deps.signInAttempts.claim(attemptId)))',
      'if (attemptId === "")',
    ],
    ['sign-ins by a proof have no budget', '  await deps.limits.beforeProvedSignIn(userId)\n', ''],
    ['the instant of a proof is lost', 'proved.authenticatedAt ?? null', 'null'],
  ]),
  ...mutationsOf('server/users/passwords.ts', passwords, [
    ['hashes of passwords take every core', 'Math.max(cores - 1, 1)', 'Math.max(cores, 1)'],
  ]),
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
