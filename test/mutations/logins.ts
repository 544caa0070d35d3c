import { mutationsOf } from './mutation.ts'

const checked = ['test/config/database-login.test.ts']
const admitted = ['test/db/service-login.test.ts']

/** Which login does what, and what a login that serves may not be. */
export const logins = [
  ...mutationsOf(
    'server/main.ts',
    ['test/attack/service-login.test.ts', ...admitted],
    [
      [
        'the service connects as the owner of the ledger',
        "connect(urls.service, { role: 'token_ledger_app'",
        "connect(urls.owner, { role: 'token_ledger_app'",
      ],
    ],
  ),
  ...mutationsOf('server/config/database-login.ts', checked, [
    [
      'production serves with a superuser',
      "isSuperuser && config.isProduction && config.superuserDatabaseLogin !== 'allow'",
      'false',
    ],
    [
      'a login that owns the ledger is not warned about',
      "ownsLedger ? 'database_login_owns_ledger' : null",
      'null',
    ],
  ]),
  ...mutationsOf('server/http/routes/health.ts', checked, [
    ['/readyz has no warnings', '...more }\n', '}\n'],
  ]),
  ...mutationsOf('db/login-rights.ts', checked, [
    [
      'a superuser that can be reached by SET ROLE is overlooked',
      "coalesce((to_jsonb(m) ->> 'set_option')::boolean, true)",
      'false',
    ],
    [
      'a membership that a login may grant itself is overlooked',
      'or m.admin_option and not granted.rolsuper',
      '',
    ],
    [
      'administering a superuser counts as becoming one',
      'm.admin_option and not granted.rolsuper',
      'm.admin_option',
    ],
    [
      'rights on the files of the server are overlooked',
      "'pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files'",
      "'none'",
    ],
  ]),
  ...mutationsOf('db/service-login.ts', admitted, [
    [
      'a member with ADMIN alone counts as able to serve',
      "['SET', ' with set true']",
      "['MEMBER', '']",
    ],
    [
      'the password of a new login is sent as it is',
      "password '${scramVerifier(password)}'",
      "password '${password}'",
    ],
    [
      'two processes that create the login at once fail',
      '!madeByAnother.has(codeOf(error)) || attempt === maxTries',
      'attempt > 0',
    ],
  ]),
  ...mutationsOf(
    'server/cli/database.ts',
    ['test/cli/logins.test.ts'],
    [
      ['a command that needs no owner takes the owner', 'isService ? service : owner', 'owner'],
      [
        'a command that needs the owner takes the login that serves',
        'isService ? service : owner',
        'service',
      ],
    ],
  ),
]
