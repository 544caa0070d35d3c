import { mutationsOf } from './mutation.ts'

const anotherUser = ['test/client/another-user.test.ts']

/** docs/guides/frontend.md and native.md: what frontends and tools rely on. */
export const clients = [
  ...mutationsOf(
    'client/repeated-request.ts',
    ['test/client/fetch.test.ts'],
    [['a redirected request is sent again', '!isStream && !response.redirected', '!isStream']],
  ),
  ...mutationsOf(
    'client/calls/bearer-fetch.ts',
    ['test/client/fetch.test.ts'],
    [
      ['a Request is sent without its headers', 'init.headers ?? request?.headers', 'init.headers'],
      ['the body of a Request is sent once', 'request?.clone() ?? href', 'request ?? href'],
      [
        'a caller that gives up waits for the token',
        'untilAborted(signal, getAccessToken({ audience, rejected }))',
        'getAccessToken({ audience, rejected })',
      ],
    ],
  ),
  ...mutationsOf('client/calls/bearer-fetch.ts', anotherUser, [
    [
      'a refused request is repeated with the token of another user',
      'if (other === null || userId() !== own) return response',
      'if (other === null) return response',
    ],
  ]),
  ...mutationsOf(
    'client/calls/bearer-fetch.ts',
    ['test/client/step-up.test.ts'],
    [
      [
        'a request is repeated as another user, who signed in during the step-up',
        'return may && userId() === own',
        'return may',
      ],
    ],
  ),
  ...mutationsOf('client/calls/auth-link.ts', anotherUser, [
    [
      'a batch goes out with the token of its first call',
      'if (token !== tokenOfBatch) send',
      'if (tokenOfBatch === null) send',
    ],
  ]),
  ...mutationsOf('client/calls/event-source.ts', anotherUser, [
    [
      'a subscription is of the user who is there when it connects',
      'let ownUserId = userIdIn(auth.session)',
      'let ownUserId = null as string | null',
    ],
  ]),
  ...mutationsOf('client/lifecycle/sign-in.ts', anotherUser, [
    [
      'a sign-in is aborted by an earlier one of another tab',
      'hasMissed = pending?.aborted === false',
      'hasMissed = false',
    ],
    [
      'a page whose sign-in fails does not notice that of another tab',
      "(hasMissed || state.get().status !== 'signed-out')",
      "state.get().status !== 'signed-out'",
    ],
  ]),
  ...mutationsOf(
    'client/auth-client.ts',
    ['test/client/on-demand.test.ts'],
    [
      [
        'a restore whose code does not load is not tried again',
        'await isSigningOut().catch(() => false)',
        'await isSigningOut()',
      ],
      ['a request that is refused needs the code for step-up', '      () => false,\n', ''],
    ],
  ),
  ...mutationsOf('client/auth-client.ts', anotherUser, [
    [
      'a call that waited is sent with the token of another user',
      'if (token !== null && before !== null && before !== userId())',
      "if (token === '')",
    ],
  ]),
  ...mutationsOf('client/auth-api.ts', anotherUser, [
    [
      'an answer that a later sign-in overtook is stored',
      "    // A `fetch` may answer all the same.\n    if (signal?.aborted) throw new AuthClientError('superseded')\n",
      '',
    ],
  ]),
  ...mutationsOf('client/calls/event-source.ts', anotherUser, [
    [
      'a subscription goes on as another user',
      '      if (userId !== null && userId !== ownUserId) return ofAnotherUser()\n',
      '',
    ],
  ]),
  ...mutationsOf(
    'client/on-demand.ts',
    ['test/client/on-demand.test.ts'],
    [
      ['code that did not load is never loaded', '      loading = null\n', ''],
      [
        'code that does not load ends a call in an error without a reason',
        'throw toAuthClientError(error)',
        'throw error',
      ],
    ],
  ),
  ...mutationsOf(
    'client/lifecycle/session-core.ts',
    ['test/client/many-tabs.test.ts'],
    [
      [
        'a tab takes the token of any session',
        'credential.isOwn?.(grant.familyId) !== true',
        'credential.isOwn === undefined',
      ],
      [
        'each of many tabs refreshes',
        'if (isWithout && cookieOrder.hasOtherSince(calledAt)',
        'if (isWithout && !cookieOrder.hasOtherSince(0)',
      ],
      ['a tab above the limit waits', 'if (isWithout && isTooMany', 'if (!isWithout && isTooMany'],
    ],
  ),
  ...mutationsOf(
    'client/credential/stored-token.ts',
    ['test/client/storages.test.ts'],
    [
      [
        'a kept access token is used until it expires',
        'if (leftMs < lifetimeMs / 4 || leftMs > lifetimeMs) return null',
        'if (leftMs > lifetimeMs) return null',
      ],
      [
        'the access token is always kept',
        'const kept = keepAccessToken ? { grant, at: Date.now() } : null',
        'const kept = { grant, at: Date.now() }',
      ],
    ],
  ),
  ...mutationsOf(
    'client/credential/body.ts',
    ['test/client/storages.test.ts'],
    [
      [
        'a kept access token that was refused is used again',
        'kept !== null && kept.accessToken !== had',
        'kept !== null',
      ],
    ],
  ),
  ...mutationsOf(
    'client/session.ts',
    ['test/client/users.test.ts'],
    [
      ['each refresh is another person', 'if (isOther) listener(user)', 'listener(user)'],
      [
        'each refresh makes a new user object',
        'known !== null && JSON.stringify(known) === JSON.stringify(user) ? known : user',
        'user',
      ],
    ],
  ),
  ...mutationsOf(
    'client/urls.ts',
    ['test/client/life.test.ts', 'test/client/react-native.test.ts'],
    [
      ['a wildcard is an origin', "isWhole && !origin.includes('*')", 'isWhole'],
      ['a partial URL may name another host', '(?:[/?#]|$)/', '/'],
    ],
  ),
  ...mutationsOf(
    'client/calls/event-source.ts',
    ['test/client/trpc.test.ts'],
    [
      [
        'a subscription ends with its access token',
        'isAboutToken(event) && this.#failures === 0 && token !== null',
        'isAboutToken(event) && token === null',
      ],
      [
        'a subscription begins anew at each connection',
        "...(this.#lastEventId !== '' && { 'last-event-id': this.#lastEventId }),",
        '',
      ],
    ],
  ),
  ...mutationsOf(
    'client/auth-client.ts',
    ['test/client/life.test.ts'],
    [
      [
        'a client listens as soon as it is made',
        '  const closing = new AbortController()\n',
        '  const closing = new AbortController()\n  onWake(wake, closing.signal)\n',
      ],
      ['a prerendered page refreshes', '      await untilShown()\n', ''],
    ],
  ),
  ...mutationsOf(
    'server/config/values.ts',
    ['test/config/config.test.ts'],
    [
      [
        'any scheme is that of an app',
        'isOrigin(value) || appOrigin.test(value)',
        "isOrigin(value) || value.includes('://')",
      ],
    ],
  ),
]
