import { mutationsOf } from './mutation.ts'

const acts = ['test/attack/acts-after-the-end.test.ts']
const pools = ['test/procedures/own-pools.test.ts']
const once = ['test/procedures/once-a-request.test.ts']
const direct = ['test/http/direct-calls.test.ts']
const limits = ['test/procedures/call-limits.test.ts']
const health = ['test/http/readyz.test.ts']

/** What a signed-in caller can ask for, how often, and on which connections; who acts, asked again. */
export const calls = [
  ...mutationsOf(
    'server/http/client-errors.ts',
    ['test/attack/http-shapes.test.ts'],
    [
      [
        'a client that still sends loses its answer to a reset',
        '  if (answered.has(socket)) return\n',
        '',
      ],
      [
        'a client that never closes keeps a refused connection',
        'setTimeout(() => socket.destroy(), lingerMs)',
        'setTimeout(() => {}, lingerMs)',
      ],
    ],
  ),
  ...mutationsOf('server/sessions/act.ts', acts, [
    ['a mutation does not ask again whether its caller may act', '  await actor?.mayAct(tx)\n', ''],
    [
      'an act does not lock the account of its actor',
      'actor === undefined ? users : [...users, actor.userId]',
      'users',
    ],
  ]),
  ...mutationsOf('server/procedures/admin/users.ts', acts, [
    [
      'a change of a role does not name its actor',
      'await changeRole(deps, input, ctx.by)',
      'await changeRole(deps, input, { actorUserId: ctx.by.actorUserId })',
    ],
    [
      'the enabling of a user does not name its actor',
      'await enableUser(deps, userId, ctx.by)',
      'await enableUser(deps, userId, { actorUserId: ctx.by.actorUserId })',
    ],
  ]),
  ...mutationsOf(
    'server/http/stopping.ts',
    ['test/http/shutdown.test.ts'],
    [
      [
        'a service that stops goes on taking requests',
        'async () => void (isStopping = true)',
        'async () => {}',
      ],
    ],
  ),
  ...mutationsOf(
    'server/app.ts',
    ['test/http/shutdown.test.ts'],
    [
      [
        'a service that stops answers in a shape of its own',
        '    return503OnClosing: false,\n',
        '',
      ],
    ],
  ),
  ...mutationsOf('server/procedures/once.ts', once, [
    ['each call of a batch verifies the token', 'result ??= work()', 'result = work()'],
  ]),
  ...mutationsOf('server/http/direct-calls.ts', direct, [
    [
      'an error in one of ten calls is not seen in the status',
      'others.length === 0 ? status : 207',
      'status',
    ],
    [
      'a stream is answered as one document',
      "if (headers['trpc-accept'] !== undefined || accept.includes('application/jsonl')) return null",
      "if (accept === 'application/jsonl') return null",
    ],
    [
      'a call goes on unaware that its client has left',
      'if (!raw.writableEnded) controller.abort()',
      'if (raw.writableEnded) controller.abort()',
    ],
  ]),
  ...mutationsOf(
    'db/connection/together.ts',
    ['test/db/together.test.ts'],
    [
      [
        'a caller gets the answer to the question of another',
        'resolve(answers[i] as Answer)',
        'resolve(answers[0] as Answer)',
      ],
      [
        'any number of questions waits for one statement',
        'if (unanswered >= maxUnanswered)',
        'if (false)',
      ],
      [
        'a statement that fails leaves its callers waiting',
        'for (const { reject } of asked) reject(error)',
        'void error',
      ],
    ],
  ),
  ...mutationsOf(
    'db/audit/standing.ts',
    ['test/audit/standing.test.ts'],
    [
      [
        "sessions that are asked for together get each other's status",
        'familyIds.map((familyId) => standings.get(familyId) ?? null)',
        '[...standings.values()]',
      ],
    ],
  ),
  ...mutationsOf(
    'db/audit/pages-of-users.ts',
    ['test/audit/own-sessions.test.ts'],
    [
      [
        'lists that are asked for together are mixed up',
        'pages[row.page - 1]?.push(row)',
        'pages[0]?.push(row)',
      ],
      [
        'a list of own sessions has those of everyone',
        'where open.user_id = asked.user_id and',
        'where',
      ],
      [
        'an admin who asks for the sessions of a user gets those of everyone',
        'where user_id = asked.user_id and',
        'where',
      ],
    ],
  ),
  ...mutationsOf('server/procedures/bearer.ts', limits, [
    [
      'calls are not counted',
      '    await deps.callLimits.count({ userId: ledgerIdOf(userId), familyId }, request.calls)\n',
      '',
    ],
    ['a batch counts as one call', 'familyId }, request.calls)', 'familyId }, 1)'],
  ]),
  ...mutationsOf('server/limits/call-limits.ts', limits, [
    [
      'a user with many sessions has no limit of calls',
      '      await countUser(userId, calls)\n',
      '',
    ],
    ['calls are counted in the database from the first', '<= free) return', '<= 0) return'],
  ]),
  ...mutationsOf('server/procedures/turns.ts', once, [
    [
      'an admin asks any number of questions at once',
      'return await runExclusive(userId, ask)',
      'return await ask()',
    ],
    [
      'any number of questions of one admin waits',
      'createKeyedMutex({ maxWaiting })',
      'createKeyedMutex()',
    ],
  ]),
  ...mutationsOf(
    'db/connection/bounded.ts',
    ['test/db/bounded.test.ts'],
    [
      [
        'a pool queues any number of statements',
        'if (unfinished >= limit) return self.reject(full())',
        'if (unfinished < 0) return self.reject(full())',
      ],
      [
        'a pool queues any number of transactions',
        'if (unfinished >= limit) throw full()',
        'if (unfinished < 0) throw full()',
      ],
    ],
  ),
  ...mutationsOf('db/connection/connect.ts', pools, [
    [
      'callers take the connections of sign-ins',
      '  const calls = open(connectionsOfCallers)\n',
      '  const calls = statements\n',
    ],
    [
      'admins take the connections of callers',
      '  const questions = open(connectionsOfCallers, { statement_timeout: duration(questionMs) })\n',
      '  const questions = calls\n',
    ],
    [
      'a question of an admin runs for ten seconds',
      'const questionMs = 3_000',
      'const questionMs = statementMs',
    ],
  ]),
  ...mutationsOf('server/http/routes/health.ts', health, [
    [
      '/readyz reads the migrations at each call',
      'isMigrated(database, newest)',
      'isMigrated(database)',
    ],
    ['each call of /readyz asks the database', 'asking ??= ask()', 'asking = ask()'],
  ]),
  ...mutationsOf(
    'server/http/pipelining.ts',
    ['test/http/pipelining.test.ts'],
    [
      [
        'all requests of one packet are carried out at once',
        'if (before.writableFinished) return done()',
        'return done()',
      ],
      [
        'a connection takes all of its turn of the event loop',
        '    setImmediate(done)\n',
        '    done()\n',
      ],
      [
        'a connection may send as many requests ahead as it likes',
        'connection.waiting >= maxWaiting',
        'connection.waiting >= Infinity',
      ],
    ],
  ),
]
