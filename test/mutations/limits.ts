import { mutationsOf } from './mutation.ts'

const others = ['test/attack/others-guesses.test.ts']
const networks = ['test/procedures/networks.test.ts']
const right = ['test/attack/right-passwords.test.ts']

/** Limits that must stop the attacker, and no other caller. */
export const limits = [
  ...mutationsOf(
    'server/http/address.ts',
    ['test/http/caller.test.ts'],
    [
      [
        'addresses with a port are all one address',
        '(bracketed ?? withoutPort(plain))',
        '(bracketed ?? plain)',
      ],
      [
        'IPv4 addresses in hexadecimal are all one network',
        'if (high === undefined || low === undefined) return canonical',
        'if (high === undefined || low === undefined || true) return canonical',
      ],
    ],
  ),
  ...mutationsOf('server/limits/networks.ts', networks, [
    [
      'callers without an address share one count',
      'if (ip === null) return []',
      "if (ip === null) return ['unknown']",
    ],
    ['a /56 has 256 networks', '[64, 56, 48].map', '[64, 64, 48].map'],
    ['a /48 has 65,536 networks', '[64, 56, 48].map', '[64, 56, 64].map'],
  ]),
  ...mutationsOf('server/http/caller.ts', others, [
    [
      'callers behind a proxy that is not named share the counts of a network',
      'comesByUnnamedProxy(request) && isNearby(request.ip)',
      'false',
    ],
  ]),
  ...mutationsOf('server/limits/password-limits.ts', others, [
    [
      'a device of the owner is locked out by guesses of others',
      'if (ownerId !== null && ownerId === userId) return own',
      'if (ownerId === undefined) return own',
    ],
    [
      "a refresh token of another user opens the account's limit",
      'if (ownerId !== null && ownerId === userId) return own',
      'if (ownerId !== null) return own',
    ],
    [
      'a refresh token of the owner lifts all limits of guesses',
      'if ((await counters.take([own])).length > 0) continue',
      'void own',
    ],
    [
      'a new user is kept out by guesses of others',
      'return isKnownNetwork || (found !== null && ip !== null && !isKnownUser)',
      'return isKnownNetwork',
    ],
    [
      'guesses from everywhere are not limited for any account',
      'return isKnownNetwork || (found !== null && ip !== null && !isKnownUser)',
      'return true',
    ],
  ]),
  ...mutationsOf('server/limits/password-limits.ts', right, [
    ['right passwords have no limit', '        taken: right,', '        taken: [],'],
    [
      'a password that was not checked counts as wrong',
      '        await counters.giveBack(taken)\n',
      '',
    ],
  ]),
  ...mutationsOf('server/limits/counters.ts', right, [
    [
      'refused sign-ins write',
      'if (blocked.length > 0 || counts.length === 0) return blocked',
      'if (counts.length === 0) return blocked',
    ],
  ]),
  ...mutationsOf(
    'server/limits/refresh-limits.ts',
    ['test/procedures/refresh-limits.test.ts'],
    [
      [
        'the sessions of one user refresh without end',
        'if (refused.has(familyId) && users.msLeft() > 0)',
        'if (false)',
      ],
      [
        'the rows of one user raise no alert',
        'if (seen === rowsOfUser.points)',
        'if (seen === rowsOfUser.points + 1)',
      ],
    ],
  ),
  ...mutationsOf(
    'server/limits/password-limits.ts',
    ['test/procedures/password-queue.test.ts'],
    [
      [
        'guesses that the queue refuses are counted first',
        'if (line !== undefined) queue.refuseIfResting(line)',
        '',
      ],
    ],
  ),
  ...mutationsOf(
    'server/users/hash-queue.ts',
    ['test/users/hash-queue.test.ts'],
    [
      [
        'a network that floods the queue keeps all others out',
        'if (turns.has(network) || most === undefined || most.length < 2) throw full',
        'throw full',
      ],
      [
        'guesses take all places of the queue',
        'if (resting.has(network) && queued >= mostResting)',
        'if (false)',
      ],
      [
        'guesses take a slot as soon as it is free',
        "if (result === false && network !== '')",
        'if (false)',
      ],
      [
        'a flood from one network is served before all others',
        'if (queued.length > 0) turns.set(network, queued)',
        'if (queued.length > 0) {\n      const rest = [...turns]\n      turns.clear()\n      for (const [key, line] of [[network, queued] as const, ...rest]) turns.set(key, line)\n    }',
      ],
    ],
  ),
  ...mutationsOf(
    'server/limits/floods.ts',
    ['test/http/floods.test.ts'],
    [
      ['a network that flooded once floods for good', '    reached.clear()\n', ''],
      [
        'no request of a network that floods is answered as usual',
        'Math.random() * answeredOneIn >= 1',
        'true',
      ],
      [
        'a flood that lasts is answered in full in every other period',
        'before.has(network) ? answeredOneIn : 1',
        '1',
      ],
      [
        'a flood of long ago goes on',
        'now < endsAt + periodMs ? new Set(reached) : new Set()',
        'new Set(reached)',
      ],
    ],
  ),
  ...mutationsOf(
    'server/http/refuse-floods.ts',
    ['test/http/floods.test.ts'],
    [
      ['the address of an unknown proxy counts as one network', '&& !isNearby(request.ip)', ''],
      ['a network that floods shuts out its neighbours', ' && !unread.has(reply)', ''],
      ['a network that floods is answered as usual', '!floods.refusesUnread(ip)', 'true'],
    ],
  ),
]
