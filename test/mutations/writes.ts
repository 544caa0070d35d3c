import { mutationsOf } from './mutation.ts'

const race = ['test/sessions/rotation-race.test.ts']
const wire = ['test/sessions/rotation-rules.test.ts']
const sessions = ['test/sessions/session-rules.test.ts']
const ends = ['test/sessions/end-of-everything.test.ts']
const fences = ['test/db/fence.test.ts']
const groups = ['test/sessions/sign-out-groups.test.ts']

/** docs/internals/architecture.md, the walk of a refresh: read, decide, append; a reuse also locks. */
export const writes = [
  ...mutationsOf('server/sessions/refresh-decision.ts', wire, [
    [
      'a replay gives another successor',
      'isSuccession(event)\n    ? successor\n    : findDescendant(',
      '[successor, null].at(',
    ],
    [
      'the attempt is ignored',
      'attemptHash: attemptId === null ? null : hashAttempt(attemptId)',
      'attemptHash: null',
    ],
    [
      'a family does not keep its transport',
      'transport: row.transport,\n    userMayRefresh',
      'transport: pending.transport,\n    userMayRefresh',
    ],
    [
      'after a clock is set back, an event is dated before the last one',
      'const now = Math.max(known.now, family.lastAt)',
      'const now = known.now',
    ],
    [
      'an unknown family is answered as an abandoned request',
      'if (family === undefined) return { pending, answer: unknownFamily() }',
      'if (family === undefined) return { pending, answer: abandoned() }',
    ],
  ]),
  ...mutationsOf(
    'drizzle/0029_authentications_of_rotations.sql',
    ['test/sessions/authentications.test.ts'],
    [
      [
        'a rotation after a replay forgets how its user was authenticated',
        '(token_ledger.newest_token(e.family_id)).methods',
        'newest.methods',
      ],
    ],
  ),
  ...mutationsOf('drizzle/0029_authentications_of_rotations.sql', race, [
    [
      'an event is appended to a history that has changed',
      '  where e.family_id = any(locked) and e.seq - 1 = last.seq\n',
      '  where e.family_id = any(locked)\n',
    ],
  ]),
  ...mutationsOf(
    'drizzle/0027_authentications.sql',
    ['test/db/open-families.test.ts'],
    [
      [
        'an end leaves the family among the open ones',
        '    delete from token_ledger.open_family o where o.family_id = new.family_id;\n',
        '',
      ],
      [
        'a family leaves the open ones when it expires, although the clock may be set back',
        "new.occurred_at - interval '1 hour' > coalesce(",
        'new.occurred_at > coalesce(',
      ],
      [
        'verification does not miss an active family',
        ' or f.absolute_expires_at > token_ledger.clock()',
        '',
      ],
      [
        'a restored dump fails on a row that it has brought',
        '\n  on conflict (family_id) do nothing',
        '',
      ],
    ],
  ),
  ...mutationsOf('server/sessions/refresh-refused.ts', wire, [
    [
      'a refusal does not name its incident',
      '...(end !== null && { incidentId',
      '...(end === null && { incidentId',
    ],
  ]),
  ...mutationsOf(
    'server/sessions/refresh-decision.ts',
    ['test/users/subjects.test.ts'],
    [
      [
        'a user whom the directory disables refreshes',
        'user !== undefined && !user.disabled',
        'user !== undefined',
      ],
      [
        'a user whom the directory forgets is an error',
        'user !== undefined && !user.disabled',
        '!user?.disabled',
      ],
    ],
  ),
  ...mutationsOf(
    'server/sessions/refresh-decision.ts',
    ['test/faults/late-request.test.ts'],
    [
      [
        'a refresh whose client hung up is decided',
        'if (!isClientWaiting(pending)) return',
        'if (false) return',
      ],
    ],
  ),
  ...mutationsOf('server/sessions/reuse.ts', sessions, [
    [
      'REUSE_SCOPE=user ends one family alone',
      "if (policy.reuseScope === 'family') return []",
      'if (policy) return []',
    ],
  ]),
  ...mutationsOf('server/sessions/rotation.ts', sessions, [
    [
      'REUSE_SCOPE=user locks one family alone',
      "const ofUser = deps.policy.reuseScope === 'user' ? userId : null",
      'const ofUser = null',
    ],
  ]),
  ...mutationsOf('server/sessions/refresh-decision.ts', sessions, [
    [
      'the secret of a token is not compared',
      'hasHash(pending.token, row.tokenHash)',
      'row.tokenHash !== null',
    ],
  ]),
  ...mutationsOf('server/sessions/reuse.ts', ends, [
    ['a reuse ends the other families without the lock of the user', '    users: [ofUser],\n', ''],
  ]),
  ...mutationsOf(
    'db/connection/transaction.ts',
    ['test/sessions/locked-for-long.test.ts'],
    [
      [
        'a locked family takes all connections of the pool',
        'oneAtATimePer(sql, familyOrUserId, () => inTransaction(sql, work))',
        'inTransaction(sql, work)',
      ],
    ],
  ),
  ...mutationsOf('server/sessions/rotation.ts', race, [
    [
      'a refresh that another overtook is granted all the same',
      'else if (answer.event === null || appended.has(familyId)) answers.set',
      'else answers.set',
    ],
  ]),
  ...mutationsOf(
    'server/sessions/refresh-decision.ts',
    ['test/attack/refresh-flood.test.ts'],
    [
      [
        'a thief avoids reuse detection by the rate limit',
        'if (pending.refusalUnlessReuse && !isReuse(answer))',
        'if (pending.refusalUnlessReuse)',
      ],
    ],
  ),
  ...mutationsOf(
    'server/procedures/sessions.ts',
    ['test/attack/stolen-access-token.test.ts'],
    [
      [
        'a stolen access token keeps the owner from signing in',
        '  await ctx.deps.limits.beforeEndingOthers(familyId)\n',
        '',
      ],
    ],
  ),
  ...mutationsOf(
    'server/admin/users.ts',
    ['test/attack/acts-after-the-end.test.ts'],
    [
      [
        'an admin who is one no longer makes another',
        '    await lockForAct(transaction.tx, { actor })\n',
        '',
      ],
    ],
  ),
  ...mutationsOf(
    'server/tokens/access-token.ts',
    ['test/sessions/prepared-answers.test.ts'],
    [['a token that was made ahead is made again', 'ahead.get(session) ?? ', '']],
  ),
  ...mutationsOf('server/tokens/access-token.ts', sessions, [
    [
      'an access token outlives its session',
      'Math.min(lifetimeMs, refreshRemainingMs)',
      'lifetimeMs',
    ],
    ['an access token has a fixed role', 'role: user.role,', "role: 'user',"],
    ['an access token has a fixed address', 'email: user.email,', "email: 'ada@example.com',"],
  ]),
  ...mutationsOf(
    'server/sessions/group-commit.ts',
    ['test/sessions/group-commit.test.ts'],
    [
      [
        'two tokens of a family are decided at once',
        'batch.length === maxBatch || familiesInFlight.has(familyId)',
        'batch.length === maxBatch',
      ],
      [
        'a batch with an unknown outcome is retried',
        'batch.length > 1 && mayRetry(error)',
        'batch.length > 1',
      ],
      ['a poisoned rotation fails its neighbours', 'batch.length > 1 && mayRetry(error)', 'false'],
      ['the queue has no bound', 'if (waiting.length >= maxWaiting)', 'if (waiting.length < 0)'],
      [
        'one family may fill the queue',
        'if ((waitingByFamily.get(item.familyId) ?? 0) >= maxWaitingPerFamily)',
        'if (waiting.length < 0)',
      ],
      ['a family does not get its places back', '        leaveQueue(familyId)\n', ''],
    ],
  ),
  ...mutationsOf('drizzle/0030_user_subjects.sql', ends, [
    ['a sign-in outlives the end of all sessions', 'when b.epoch <> (', 'when b.epoch > ('],
  ]),
  ...mutationsOf('server/sessions/revocation.ts', ends, [
    ['the end of everything leaves sign-ins alone', '    await bumpEpoch(tx, txid, userId)\n', ''],
  ]),
  ...mutationsOf('server/sessions/act.ts', ends, [
    [
      'a session that began during the lock is not ended',
      '  const first = usersToLock.length > 0 ? await lockUsers(tx, usersToLock) : null\n  const concerned = await families(tx)\n',
      '  const concerned = await families(tx)\n  const first = usersToLock.length > 0 ? await lockUsers(tx, usersToLock) : null\n',
    ],
  ]),
  ...mutationsOf('server/sessions/sign-in.ts', sessions, [
    [
      'the newest session makes room, not the oldest',
      'active.slice(0, Math.max(0, active.length - maxSessionsPerUser + 1))',
      'active.slice(-Math.max(0, active.length - maxSessionsPerUser + 1))',
    ],
  ]),
  ...mutationsOf('drizzle/0030_user_subjects.sql', sessions, [
    ['one session too many is allowed', 'when b.max_open <= (', 'when b.max_open < ('],
  ]),
  ...mutationsOf(
    'server/sessions/revocation.ts',
    ['test/http/auth-rules.test.ts'],
    [
      [
        "another user's session can be ended",
        '    if (target.ownerId !== undefined && family.userId !== target.ownerId) return null\n',
        '',
      ],
    ],
  ),
  ...mutationsOf('server/sessions/sign-out.ts', sessions, [
    [
      'a sign-out of an ended session waits for its lock',
      "  if (decision === null) return { outcome: { kind: 'nothing' }, append: null }\n",
      '',
    ],
  ]),
  ...mutationsOf(
    'server/sessions/sign-out.ts',
    ['test/http/auth-rules.test.ts'],
    [
      [
        'a logout accepts a token in the other transport',
        'if (row.transport !== pending.transport)',
        'if (row.transport !== row.transport)',
      ],
    ],
  ),
  ...mutationsOf(
    'server/sessions/sign-out.ts',
    ['test/attack/spent-token-sign-out.test.ts'],
    [
      [
        'a spent token signs out everywhere',
        "  if (decision !== 'sign_out') {\n",
        "  if (decision !== 'sign_out' && !everywhere) {\n",
      ],
      [
        'a reuse at a sign-out is not in the security log',
        '  if (ended.isReuse)\n',
        '  if (ended.isReuse && everywhere)\n',
      ],
      [
        'a sign-out by a token that was issued ends nothing',
        'hasHash(token, row.tokenHash)',
        'row.tokenHash === null',
      ],
    ],
  ),
  ...mutationsOf(
    'server/sessions/replay-events.ts',
    ['test/sessions/replays-elsewhere.test.ts'],
    [
      [
        'each replay from elsewhere is reported as a suspicion',
        'if (!sighting.isSuspicious) return [replayed]',
        'if (!isElsewhere) return [replayed]',
      ],
    ],
  ),
  ...mutationsOf(
    'db/audit/standing.ts',
    ['test/audit/standing.test.ts'],
    [
      [
        'an expired session is active',
        ")) <= token_ledger.clock() then 'expired'",
        ")) is null then 'expired'",
      ],
      [
        'a replay hides when its session expires',
        "and made.kind in ('issued', 'rotated', 'reauthenticated')",
        "and made.kind = 'replayed'",
      ],
    ],
  ),
  ...mutationsOf(
    'server/procedures/standing.ts',
    ['test/http/auth-rules.test.ts'],
    [
      [
        'an ended session still calls procedures',
        "if (standing?.status !== 'active')",
        "if (standing?.status === 'expired')",
      ],
    ],
  ),
  ...mutationsOf('db/ledger/locks.ts', race, [
    ['a family is not locked', 'order by family_id\n    for update`', 'order by family_id`'],
  ]),
  ...mutationsOf('db/ledger/families.ts', wire, [
    ['the clock of the process decides', 'now: rows[0]?.now ?? 0', 'now: Date.now()'],
  ]),
  ...mutationsOf(
    'db/ledger/families.ts',
    ['test/attack/thief-keeps-step.test.ts'],
    [
      [
        'replays of earlier generations are not read',
        'const tailGenerations = 4',
        'const tailGenerations = 1',
      ],
    ],
  ),
  ...mutationsOf('server/sessions/sign-out.ts', groups, [
    [
      'a sign-out that another write overtook counts as done',
      'append === null || ended.has(pending.familyId)',
      'append === null || ended.size >= 0',
    ],
  ]),
  ...mutationsOf('server/sessions/group-commit.ts', groups, [
    [
      'a write that the database refuses fails its whole group',
      'mayRetry: (error) => isRetryable(error) || !isUnavailable(error)',
      'mayRetry: (error) => isRetryable(error) && isUnavailable(error)',
    ],
  ]),
  ...mutationsOf('drizzle/0023_sign_ins_and_outs.sql', groups, [
    [
      'the ends of a group are not notified',
      '  if first_end_at is not null then\n',
      '  if first_end_at is null then\n',
    ],
    [
      'the newest end of a group is notified, not the oldest',
      'min(a.occurred_at) into ended',
      'max(a.occurred_at) into ended',
    ],
    [
      'a sign-out is appended to a history that has changed',
      '      and e.seq - 1 = (',
      '      and 0 <= (',
    ],
  ]),
  ...mutationsOf('db/ledger/begin-family.ts', fences, [
    [
      'a family is made outside of the transaction that locked',
      'where ${txid}::text is null or pg_current_xact_id()::text = ${txid}`',
      'where ${txid}::text is null or ${txid} = ${txid}`',
    ],
  ]),
  ...mutationsOf('db/ledger/append.ts', fences, [
    [
      'an event is appended outside of the transaction that locked',
      'as e(${tx.unsafe(insertedColumnTypes)})\n    where pg_current_xact_id()::text = ${txid}`',
      'as e(${tx.unsafe(insertedColumnTypes)})\n    where ${txid} = ${txid}`',
    ],
    [
      'a write that did not happen is not noticed',
      'if (written !== expected)',
      'if (written > expected)',
    ],
  ]),
  ...mutationsOf('db/ledger/locks.ts', fences, [
    [
      'the end of everything is counted outside of the transaction that locked',
      'where user_id = ${userId}::uuid and pg_current_xact_id()::text = ${txid}`',
      'where user_id = ${userId}::uuid and ${txid} = ${txid}`',
    ],
  ]),
  ...mutationsOf(
    'db/connection/transaction.ts',
    ['test/db/transaction.test.ts'],
    [
      // The fence also refuses a statement that is sent after a connection was lost.
      ['a conflict is not retried', 'attempt === maxTries || !isRetryable(error)', 'attempt > 0'],
    ],
  ),
]
