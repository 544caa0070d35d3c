import { mutationsOf } from './mutation.ts'

const inService = ['test/revocation/service.test.ts']
const inFeed = ['test/revocation/feed.test.ts']
const inFollowers = ['test/verifier/revocations.test.ts']

/** docs/guides/services.md: how soon a revoked session's access token is refused elsewhere. */
export const revocations = [
  ...mutationsOf('db/ledger/append.ts', inService, [
    [
      'an end is told to nobody',
      '  if (endedAt.length > 0) await tellEnds(tx, Math.min(...endedAt))\n',
      '',
    ],
    ['a sign-in is told to everybody', '(isEnd(event) ? [event.at] : [])', '[event.at]'],
  ]),
  ...mutationsOf('server/sessions/ended-sessions.ts', inService, [
    [
      'nobody looks back to the time that was told',
      'const sinceAt = Math.min(since, toldAt)',
      'const sinceAt = since',
    ],
    [
      'what was ended before anybody listened is not read',
      'await look(line, 0, firstLookTimeoutMs)',
      'await look(line, Date.now(), firstLookTimeoutMs)',
    ],
  ]),
  ...mutationsOf('server/procedures/access.ts', inService, [
    [
      'a process that is behind lets everybody in',
      '  if (!ctx.isGoingOn) await inTime(mustBeAlive(ctx.deps, ctx.session))\n',
      '',
    ],
  ]),
  ...mutationsOf('server/verifier/revocations/freshness.ts', inService, [
    [
      'what was known an hour ago counts as known',
      'isConfirmed && lagMs() <= maxLagMs',
      'isConfirmed',
    ],
  ]),
  ...mutationsOf('server/verifier/revocations/ended-set.ts', inFeed, [
    ['a full set counts as complete', '          incompleteUntil = now + keepMs\n', ''],
  ]),
  ...mutationsOf('server/http/routes/revocations.ts', inFeed, [
    [
      'the feed is for everybody',
      '    if (!hasSharedToken(request, revocationsToken)) throw refusal(request, reply)\n',
      '',
    ],
    [
      'a place in the feed of another process counts in this one',
      "if (typeof id !== 'string' || !id.startsWith(prefix)) return 0",
      "if (typeof id !== 'string') return 0",
    ],
    ['the feed says that it is current when it is not', 'yield ended.isCurrent()', 'yield true'],
  ]),
  ...mutationsOf('server/verifier/verifier.ts', inFollowers, [
    [
      'a follower does not look whether a session is over',
      '    await checkSession(claims.familyId)\n',
      '',
    ],
  ]),
  ...mutationsOf('server/verifier/revocations/follow.ts', inFollowers, [
    [
      'a follower that is behind says yes',
      "if (whenBehind === 'refuse' && !isCurrent())",
      "if (whenBehind === 'refuse' && !set.isComplete())",
    ],
    ['a follower brings its token wherever it is sent', "redirect: 'error'", "redirect: 'follow'"],
  ]),
]
