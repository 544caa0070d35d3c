import { mutationsOf } from './mutation.ts'

const inService = ['test/revocation/service.test.ts']
const inFeed = ['test/revocation/feed.test.ts']
const inFollowers = ['test/verifier/revocations.test.ts']
const inCache = ['test/verifier/verified-tokens.test.ts']
const inSet = ['test/verifier/ended-set.test.ts']

/** docs/guides/services.md: how soon a revoked session's access token is refused elsewhere. */
export const revocations = [
  ...mutationsOf('db/ledger/append.ts', inService, [
    [
      'an end is not notified',
      '  if (endedAt.length > 0) await notifyFamilyEnds(tx, Math.min(...endedAt))\n',
      '',
    ],
  ]),
  ...mutationsOf('server/sessions/ended-sessions.ts', inService, [
    [
      'a poll does not reach back to the notified time',
      'const sinceAt = Math.min(since, notifiedAt)',
      'const sinceAt = since',
    ],
    [
      'ends from before the start of the process are not read',
      'await poll(listener, 0, firstPollTimeoutMs)',
      'await poll(listener, Date.now(), firstPollTimeoutMs)',
    ],
  ]),
  ...mutationsOf('server/procedures/access.ts', inService, [
    [
      'a process that is behind accepts every session',
      "  if (deps.endedSessions.stateOf(session.familyId) !== 'active') await inTime(bearer.mustBeAlive())\n",
      '',
    ],
  ]),
  ...mutationsOf('server/verifier/revocations/freshness.ts', inService, [
    [
      'old knowledge of ends counts as current',
      'isConfirmed && lagMs() <= maxLagMs',
      'isConfirmed',
    ],
  ]),
  ...mutationsOf('server/verifier/revocations/ended-set.ts', inSet, [
    [
      'a session that came when the set was full is forgotten',
      '      overflow.filter.add(id)\n',
      '',
    ],
    [
      'a full set counts as complete',
      'isComplete: () => overflow === null ||',
      'isComplete: () => true ||',
    ],
    [
      'ends are forgotten before their tokens have expired',
      'addedAt + retentionMs > at',
      'addedAt > at',
    ],
  ]),
  ...mutationsOf('server/verifier/revocations/ended-table.ts', inSet, [
    [
      'sessions whose ids end alike are one',
      'for (let word = 3; word >= 0; word--)',
      'for (let word = 3; word >= 3; word--)',
    ],
  ]),
  ...mutationsOf(
    'server/sessions/ended-sessions.ts',
    ['test/attack/many-ends.test.ts'],
    [
      [
        'of many ends, one page is read',
        'if (page.ended.length < pageSize) return readAt',
        'if (page.ended.length <= pageSize) return readAt',
      ],
    ],
  ),
  ...mutationsOf('server/http/routes/revocations.ts', inFeed, [
    [
      'the feed needs no token',
      '    if (!hasSharedToken(request, revocationsToken)) throw refusal(request, reply)\n    if (streams',
      '    if (streams',
    ],
    [
      'a position in the feed of another process is accepted',
      "if (typeof id !== 'string' || !id.startsWith(prefix)) return 0",
      "if (typeof id !== 'string') return 0",
    ],
    ['the feed says that it is current when it is not', 'yield ended.isCurrent()', 'yield true'],
    [
      'the feed does not say that it lacks sessions',
      "ended.isComplete() ? 'checked' : 'incomplete'",
      "'checked'",
    ],
    [
      'the state of a session needs no token',
      'if (!hasSharedToken(request, revocationsToken)) throw refusal(request, reply)\n    const { sid }',
      'const { sid }',
    ],
  ]),
  ...mutationsOf(
    'server/verifier/verifier.ts',
    [...inFollowers, ...inCache],
    [
      [
        'a follower does not check whether a session has ended',
        '    if (checkSession !== undefined) await checkSession(claims.familyId)\n',
        '',
      ],
    ],
  ),
  ...mutationsOf('server/verifier/revocations/follow.ts', inFollowers, [
    [
      'a follower that is behind accepts tokens',
      "if (whenBehind === 'refuse' && !freshness.isCurrent())",
      "if (whenBehind === 'refuse' && false)",
    ],
    ['a follower sends its token to any redirect', "redirect: 'manual'", "redirect: 'follow'"],
    [
      'a follower of a feed that lacks sessions does not ask',
      "isFeedIncomplete = event === 'incomplete'",
      'isFeedIncomplete = false',
    ],
    [
      'a session that the service does not answer about is accepted',
      "if (whenBehind === 'accept') return false\n",
      'if (whenBehind) return false\n',
    ],
  ]),
]
