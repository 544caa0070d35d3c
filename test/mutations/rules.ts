import { mutationsOf } from './mutation.ts'

const decide = ['test/ledger/decide.test.ts']

/** docs/reference/rotation.md, as the pure rules have it. */
export const rules = [
  ...mutationsOf('server/ledger/decide.ts', decide, [
    [
      'rule 1: an ended family goes on',
      '  if (family.end !== null) return refuse(refusalForEnd(family.end))\n',
      '',
    ],
    [
      'rule 1: every end is answered as a revocation',
      "end.kind === 'reuse_detected' ? 'refresh_token_reused' : 'session_revoked'",
      "end.kind === 'revoked' ? 'session_revoked' : 'session_revoked'",
    ],
    [
      'rule 2: a future generation is accepted',
      "  if (presented.generation > generation) return refuse('session_revoked')\n",
      '',
    ],
    [
      'rule 2: a future generation is checked only after the expiry',
      "  if (presented.generation > generation) return refuse('session_revoked')\n  if (now >= expiryOf(family)) return refuse('session_expired')\n",
      "  if (now >= expiryOf(family)) return refuse('session_expired')\n  if (presented.generation > generation) return refuse('session_revoked')\n",
    ],
    [
      'rule 3: an expired token works',
      "  if (now >= expiryOf(family)) return refuse('session_expired')\n",
      '',
    ],
    ['rule 3: it works a millisecond longer', 'if (now >= expiryOf', 'if (now > expiryOf'],
    [
      'rule 3: a spent token of an expired family is a reuse',
      'if (now >= expiryOf(family))',
      'if (now >= expiryOf(family) && presented.generation === generation)',
    ],
    [
      'rule 4: the direct predecessor is rotated as well, which forks the family',
      'if (presented.generation === generation) return {',
      'if (presented.generation >= generation - 1) return {',
    ],
    [
      'rule 4: the successor has the generation of its predecessor',
      'generation: generation + 1,',
      'generation,',
    ],
    [
      'rule 4: the attempt is not recorded with the rotation',
      '    attemptHash: presented.attemptHash,\n    // Sliding',
      '    attemptHash: null,\n    // Sliding',
    ],
    [
      'rule 5: the same attempt is no reason for a replay',
      "  if (isByItsAttempts(presented, current.generation, history))\n    return { reason: 'same_attempt', sighting }\n",
      '',
    ],
    [
      'rule 5: the same attempt has a time limit',
      'if (isByItsAttempts(presented, current.generation, history))',
      'if (current.at > now - policy.graceMs && isByItsAttempts(presented, current.generation, history))',
    ],
    [
      'rule 6: any spent generation is replayed, not only the direct predecessor',
      'if (presented.generation !== current.generation - 1) return null',
      '',
    ],
    [
      'rule 5: the attempt of one rotation of many is enough',
      'rotations.every((rotation) =>',
      'rotations.some((rotation) =>',
    ],
    [
      'rule 5: rotations that were not read count as the attempts of the client',
      'rotations.length === current - generation &&',
      '',
    ],
    [
      'rule 5: only the attempt of this request counts',
      'const named = [attemptHash, ...previousAttemptHashes]',
      'const named = [attemptHash]',
    ],
    [
      'rule 5: any attempt is the same attempt',
      'one.every((byte, i) => byte === other[i])',
      'one.length === other.length',
    ],
    [
      'rule 5: attempts are compared by their first byte',
      'one.every((byte, i) => byte === other[i])',
      'one[0] === other[0]',
    ],
    [
      'rule 5: no attempt is the same as no attempt',
      'return one !== null && other !== null && one.every((byte, i) => byte === other[i])',
      'return one === null ? other === null : one.every((byte, i) => byte === other?.[i])',
    ],
    [
      'rule 6: there is no grace window',
      "  return { reason: 'grace_window', sighting }\n",
      '  return null\n',
    ],
    [
      'rule 6: the grace window never ends',
      'const isInWindow = current.at > now - policy.graceMs',
      'const isInWindow = current.at >= 0',
    ],
    [
      'rule 6: the window is a millisecond longer',
      'const isInWindow = current.at > now',
      'const isInWindow = current.at >= now',
    ],
    [
      'rule 6: the window slides with each replay',
      'const replay = findReplay(family, command)',
      'const replay = findReplay({ ...family, current: { ...family.current, at: family.lastAt } }, command)',
    ],
    [
      'rule 6: another attempt is replayed from anywhere',
      'if (!isInWindow || !mayBeSameClient(presented.caller, sighting.rotation)) return null',
      'if (!isInWindow) return null',
    ],
    [
      'rule 5: the same attempt is replayed from nowhere else',
      'if (isByItsAttempts(presented, current.generation, history))',
      'if (!sighting.isElsewhere && isByItsAttempts(presented, current.generation, history))',
    ],
    [
      'a sign-out by a token that was spent twice over is the act of the user',
      "return generation < oldest ? detectReuse(family, generation, now) : 'sign_out'",
      "return generation < 0 ? detectReuse(family, generation, now) : 'sign_out'",
    ],
    [
      'a sign-out by the direct predecessor is a reuse',
      "family.current.kind === 'reauthenticated' ? current : current - 1\n",
      'current\n',
    ],
    [
      'a sign-out by a token that a new authentication replaced is the act of the user',
      "family.current.kind === 'reauthenticated' ? current : current - 1\n",
      'current - 1\n',
    ],
    [
      'a secret that was never issued signs out or is a reuse',
      '  if (generation <= current && !presented.isIssued) return null\n',
      '',
    ],
    [
      'a family that is over is signed out again',
      '  if (!isActive(family, now)) return null\n',
      '',
    ],
    [
      'rule 7: a reuse is refused and not written',
      "return { event, refusal: 'refresh_token_reused' }",
      "return { event: event && null, refusal: 'refresh_token_reused' }",
    ],
    [
      'rule 7: a reuse records the current generation as presented',
      "kind: 'reuse_detected', ...after(family, now), presentedGeneration }",
      "kind: 'reuse_detected', ...after(family, now), presentedGeneration: family.current.generation }",
    ],
    [
      'the limit: replays are not limited',
      "  if (family.replays >= maxReplays) return refuse('too_many_attempts')\n",
      '',
    ],
    ['the bound: 21 replays', 'family.replays >= maxReplays', 'family.replays > maxReplays'],
    ['the bound: 19 replays', 'family.replays >= maxReplays', 'family.replays + 1 >= maxReplays'],
    [
      'the limit: a replay records the wrong reason',
      '      reason: replay.reason,\n',
      "      reason: 'grace_window',\n",
    ],
    ['the idle expiry does not slide', 'now + policy.idleMs', 'family.current.expiresAt'],
    [
      'a token outlives its family',
      'Math.min(now + policy.idleMs, absoluteExpiresAt)',
      'now + policy.idleMs',
    ],
    [
      'the absolute expiry moves with a rotation',
      '    absoluteExpiresAt,\n  }\n  if (',
      '    absoluteExpiresAt: absoluteExpiresAt + policy.idleMs,\n  }\n  if (',
    ],
    [
      'a rotation forgets how its user was authenticated',
      "{ kind: 'rotated', authentication, ...successor }",
      "{ kind: 'rotated', authentication: null, ...successor }",
    ],
    [
      'a reauthentication leaves its predecessor a grace window',
      "  if (current.kind === 'reauthenticated') return null\n",
      '',
    ],
    [
      'a reauthentication is written as a rotation',
      '  if (reauthentication === undefined) return',
      '  if (reauthentication !== null) return',
    ],
    [
      'a body token is accepted in a cookie, and the reverse',
      "  if (presented.transport !== command.transport) return refuse('transport_mismatch')\n",
      '',
    ],
    [
      'a secret that was never issued is accepted',
      "  if (presented.generation <= generation && !presented.isIssued)\n    return refuse('refresh_token_malformed')\n",
      '',
    ],
    [
      'a user who may not refresh is granted one',
      "  if (!command.userMayRefresh) return refuse('session_revoked')\n",
      '',
    ],
    [
      'an ended or expired family is revoked again',
      '  if (!isActive(family, command.now)) return null\n',
      '',
    ],
    ['an event takes the seq of the one before', 'seq: family.lastSeq + 1', 'seq: family.lastSeq'],
  ]),
  ...mutationsOf(
    'server/ledger/decide.ts',
    ['test/ledger/sighting.test.ts'],
    [
      [
        'REPLAYS_ELSEWHERE=end ends nothing',
        "  if (sighting.isRepeated && policy.replaysElsewhere === 'end') return null\n",
        '',
      ],
      [
        'replays from elsewhere end the session without REPLAYS_ELSEWHERE=end',
        "if (sighting.isRepeated && policy.replaysElsewhere === 'end') return null",
        'if (sighting.isRepeated) return null',
      ],
    ],
  ),
  ...mutationsOf(
    'server/ledger/sighting.ts',
    ['test/ledger/sighting.test.ts'],
    [
      [
        'two generations in a row are a suspicion',
        'suspiciousGenerations = 3',
        'suspiciousGenerations = 2',
      ],
      ['generations that are not in a row are counted', 'inARow + 1 : 0', 'inARow + 1 : inARow'],
      [
        'a suspicion is reported at each replay',
        'isElsewhereNow && !isReplayedElsewhere && inARow',
        'isElsewhereNow && inARow',
      ],
      ['a suspicion is reported at each generation', '&& inARow === before', '&& inARow >= before'],
    ],
  ),
  ...mutationsOf(
    'server/ledger/caller.ts',
    ['test/ledger/caller.test.ts'],
    [
      [
        'the network and the user agent have to be the same',
        'networkOf(one.ip) === networkOf(other.ip) || one',
        'networkOf(one.ip) === networkOf(other.ip) && one',
      ],
      ['a network is one IPv4 address', ".replace(/\\.\\d+$/, '.0/24')", '.trim()'],
      ['a network is the /48 of an IPv6 address', '.slice(0, 4)', '.slice(0, 3)'],
      [
        'an address that is not known is elsewhere',
        '  if (one.ip === null || other.ip === null) return false\n',
        '',
      ],
    ],
  ),
  ...mutationsOf(
    'server/ledger/family.ts',
    ['test/ledger'],
    [
      ['replays are not counted', 'replays: family.replays + 1', 'replays: family.replays'],
      [
        'a rotation does not reset the count of replays',
        'current: event, replays: 0 }',
        'current: event, replays: family.replays }',
      ],
      ['an end is not remembered', 'return { ...next, end: event }', 'return next'],
      ['a history goes on after its end', ' || family.end !== null)', ')'],
      [
        'a gap in a history is not noticed',
        'if (event.seq !== family.lastSeq + 1 || family.end !== null)',
        'if (family.end !== null)',
      ],
      [
        'a history of forked generations is folded',
        'if (event.generation !== (isSuccession(event) ? generation + 1 : generation))',
        'if (event.generation < generation)',
      ],
      [
        'the absolute expiry is ignored',
        'Math.min(current.expiresAt, current.absoluteExpiresAt)',
        'current.expiresAt',
      ],
      [
        'the idle expiry is ignored',
        'Math.min(current.expiresAt, current.absoluteExpiresAt)',
        'current.absoluteExpiresAt',
      ],
    ],
  ),
]
