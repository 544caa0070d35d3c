import { mutationsOf } from './mutation.ts'

const served = ['test/http/console.test.ts']
const forEveryone = ['test/console/account.test.ts']
const forAdmins = ['test/console/sessions.test.ts']
const ofTheService = ['test/console/admin-screens.test.ts']
const ofTheTail = ['test/console/tail-buffer.test.ts']

/** docs/guides/console.md */
export const consoleRules = [
  ...mutationsOf('server/http/routes/console.ts', served, [
    [
      'the console may run inline scripts',
      `"script-src 'self'",`,
      `"script-src 'self' 'unsafe-inline'",`,
    ],
    [
      'caches keep the page of the console',
      "name.startsWith(hashedFiles) ? aYear : 'no-cache'",
      'aYear',
    ],
  ]),
  ...mutationsOf('client/console/service.ts', forAdmins, [
    [
      'an admin who lost the role keeps the screens of admins',
      "if (reasonOf(error) !== 'role_required') return",
      "if (reasonOf(error) === 'role_required') return",
    ],
  ]),
  ...mutationsOf('client/console/access.ts', forEveryone, [
    ['a plain user gets the screens of admins', "user.role === 'admin' && ", ''],
  ]),
  ...mutationsOf('client/console/screens/ledger/use-tail.ts', ofTheService, [
    ['a tail that was paused misses what came meanwhile', '{ after },', '{ after: undefined },'],
    [
      'a tail that finds no service begins without a position',
      'if (!mayPass(error)) throw error',
      'return undefined',
    ],
  ]),
  ...mutationsOf('client/console/screens/ledger/tail-buffer.ts', ofTheTail, [
    [
      'the tail does not count what a filter refuses',
      'received += 1\n      if (accepts(event))',
      'if (accepts(event)) received += 1\n      if (accepts(event))',
    ],
    [
      'a filter forgets the events that wait for a frame',
      'waiting = waiting.filter(next)',
      'waiting = []',
    ],
  ]),
]
