import { mutationsOf } from './mutation.ts'

/** docs/guides/step-up.md: what asks for a recent authentication, and what proving it again does. */
export const stepUp = [
  ...mutationsOf(
    'server/verifier/auth-age.ts',
    ['test/verifier/verified-tokens.test.ts'],
    [
      ['a token is recent enough for ever', 'if (!isRecent) throw', 'if (false) throw'],
      [
        'a limit that is not a number refuses no token',
        'const isRecent = now - authenticatedAt <= maxAuthAgeSeconds * 1000',
        'const isRecent = !(now - authenticatedAt > maxAuthAgeSeconds * 1000)',
      ],
    ],
  ),
  ...mutationsOf(
    'server/verifier/verifier.ts',
    ['test/verifier/verified-tokens.test.ts'],
    [
      [
        'a verifier asks no call for a recent authentication',
        '{ maxAuthAgeSeconds = options.maxAuthAgeSeconds }',
        '{ maxAuthAgeSeconds }',
      ],
    ],
  ),
  ...mutationsOf(
    'server/verifier/koa.ts',
    ['test/verifier/adapters.test.ts'],
    [
      [
        'an adapter does not pass on how recent an authentication has to be',
        'verifyAuthorization(authorization, requirements)',
        'verifyAuthorization(authorization)',
      ],
    ],
  ),
  ...mutationsOf(
    'server/procedures/access.ts',
    ['test/http/step-up.test.ts'],
    [
      [
        'a change asks for no recent authentication',
        'if (signingKeys.now() - authenticatedAt <= maxAuthAgeMs) return',
        'if (maxAuthAgeMs > 0) return',
      ],
    ],
  ),
  ...mutationsOf(
    'server/procedures/admin/users.ts',
    ['test/http/step-up.test.ts'],
    [
      [
        'an admin of long ago disables a user',
        'const disable = adminActProcedure',
        'const disable = askingProcedure',
      ],
    ],
  ),
  ...mutationsOf(
    'server/procedures/reauthenticate.ts',
    ['test/http/step-up.test.ts'],
    [
      ['any password proves who a user is', 'if (user !== null) return', 'if (true) return'],
      [
        'a reauthentication needs no attempt, and loses its session with its answer',
        'attemptInput.extend({ attemptId: z.uuid() })',
        'attemptInput.extend({})',
      ],
    ],
  ),
  ...mutationsOf(
    'server/sessions/refresh-decision.ts',
    ['test/sessions/step-up.test.ts'],
    [
      [
        'a refresh of before passes for a reauthentication',
        "made.kind === 'reauthenticated' &&",
        'made !== undefined &&',
      ],
    ],
  ),
  ...mutationsOf(
    'client/lifecycle/step-up.ts',
    ['test/client/step-up.test.ts'],
    [
      ['each refused call asks the user again', 'asking ??= (async', 'asking = (async'],
      [
        'a call that was on its way asks the user again',
        'if (authenticatedAt > calledAt) return Promise.resolve(true)',
        '',
      ],
    ],
  ),
  ...mutationsOf(
    'client/lifecycle/session-core.ts',
    ['test/browser/step-up.test.ts'],
    [['the other tabs keep the token of before', 'record, grant: ask && grant })', 'record })']],
  ),
]
