import { mutationsOf } from './mutation.ts'

const connections = ['test/postgres/connections.test.ts']
const settings = ['test/postgres/settings.test.ts']

/** How the service connects, and what it does when that fails. */
export const connectionRules = [
  ...mutationsOf(
    'db/connection/prepared.ts',
    ['test/db/prepared.test.ts'],
    [
      [
        'a statement is built anew at each call',
        'statements.get(shape) ?? build(db, has)',
        'build(db, has)',
      ],
      [
        'a list of one user is that of all users',
        '(Object.keys(values) as (keyof Values)[]).filter(has).join()',
        "''",
      ],
    ],
  ),
  ...mutationsOf(
    'db/connection/settings.ts',
    ['test/db/replica-setting.test.ts'],
    [
      [
        'what an owner writes is taken for rows of another database',
        "  'token_ledger.appends': 'yes',\n",
        '',
      ],
    ],
  ),
  ...mutationsOf('db/connection/settings.ts', settings, [
    ['byte strings are read as the database writes them', "  bytea_output: 'hex',\n", ''],
    [
      'a session has the isolation that the database gives it',
      "  default_transaction_isolation: 'read committed',\n",
      '',
    ],
    ['plans are compiled', "  jit: 'off',\n", ''],
  ]),
  ...mutationsOf(
    'db/connection/driver.ts',
    ['test/db/handshake.test.ts'],
    [
      ['a connection without its role or settings is used', 'if (missing !== null)', 'if (false)'],
      ['the service writes to a standby', "mustNotBeStandby && isStandby === 't'", 'false'],
    ],
  ),
  ...mutationsOf(
    'db/connection/driver.ts',
    ['test/db/pool-end.test.ts'],
    [
      ['a pool that has ended keeps connections', 'sockets.close()', ''],
      [
        'a pool that lost its connection does not end',
        'timeout = endWithinSeconds',
        'timeout = 900',
      ],
    ],
  ),
  ...mutationsOf(
    'db/connection/socket.ts',
    ['test/db/pool-end.test.ts'],
    [['a pool that has ended opens a connection', 'if (isClosed) {', 'if (false) {']],
  ),
  ...mutationsOf('db/connection/socket.ts', connections, [
    [
      'a server that closes new connections is asked without pause',
      'if (refusal !== null) return new FailedSocket(refusal)',
      '',
    ],
    [
      'an attempt that the server refuses drops the connections that work',
      'if (isReady && !isEndedByDriver) events.onLost()',
      'if (!isEndedByDriver) events.onLost()',
    ],
    [
      'a connection that is closed for its age counts as lost',
      'if (isReady && !isEndedByDriver) events.onLost()',
      'if (isReady) events.onLost()',
    ],
  ]),
  ...mutationsOf(
    'db/connection/errors.ts',
    ['test/http/conflicts.test.ts'],
    [
      [
        'a conflict that does not end is an internal error',
        "['40001', '40P01'].includes(code) ||",
        '',
      ],
    ],
  ),
]
