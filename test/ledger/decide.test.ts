import { describe, expect, test } from 'vitest'
import { decideRevocation, decideRotation, decideSignOut } from '../../server/ledger/decide.ts'
import type { LedgerEvent } from '../../server/ledger/events.ts'
import { foldFamily } from '../../server/ledger/family.ts'
import {
  absoluteMs,
  byOwner,
  graceMs,
  hashOf,
  idleMs,
  issued,
  nextHash,
  nextSalt,
  owner,
  policy,
  present,
  presentInBody,
  reauthenticated,
  replayed,
  reuseDetected,
  revoked,
  rotated,
  userId,
} from '../support/family-events.ts'
import { given } from '../support/family-spec.ts'

const hour = 3600 * 1000
const next = { tokenHash: nextHash, salt: nextSalt }
const strict = { ...policy, graceMs: 0 }

describe('the current token', () => {
  test('the current token is rotated to the next generation (RFC 9700 §4.14.2)', () => {
    given(issued())
      .whenRotating(present(0, 5))
      .then(rotated(1, 5, next))
    given(issued(), rotated(1, 5))
      .whenRotating(present(1, 9))
      .then(rotated(2, 9, next))
  })

  test('the current token is rotated after its predecessor was replayed', () => {
    given(issued(), rotated(1, 5), replayed(3, 6))
      .whenRotating(present(1, 9))
      .then(rotated(2, 9, { ...next, seq: 4 }))
  })

  test('a rotation records the hash of its attempt', () => {
    given(issued())
      .whenRotating(present(0, 5, { attemptHash: hashOf('a') }))
      .then(rotated(1, 5, { ...next, attemptHash: hashOf('a') }))
  })

  test('the current token works until the last millisecond before its inactivity timeout (ASVS 5.0, 7.3.1)', () => {
    given(issued())
      .whenRotating(present(0, idleMs - 1))
      .then(rotated(1, idleMs - 1, next))
    given(issued()).whenRotating(present(0, idleMs)).thenRefused('session_expired')
  })

  test('the successor never outlives the absolute expiration (ASVS 5.0, 7.3.2 and 10.4.8)', () => {
    const busy = [issued(), rotated(1, idleMs - 1), rotated(2, 2 * idleMs - 2)]
    const last = absoluteMs - 1
    given(...busy)
      .whenRotating(present(2, last))
      .then(rotated(3, last, { ...next, expiresAt: absoluteMs }))
    given(...busy, rotated(3, last))
      .whenRotating(present(3, absoluteMs))
      .thenRefused('session_expired')
  })

  test('the current token is refused, and nothing is written, when the user is gone or disabled', () => {
    given(issued())
      .whenRotating(present(0, 5, { userMayRefresh: false }))
      .thenRefused('session_revoked')
  })
})

describe('a family that has ended', () => {
  const byReuse = [issued(), rotated(1, 5), reuseDetected(3, hour)]
  const onPurpose = [issued(), rotated(1, 5), revoked(3, hour)]

  test.each([0, 1, 2])(
    'an ended family refuses generation %i with the reason it ended',
    (generation) => {
      given(...byReuse)
        .whenRotating(present(generation, hour + 1))
        .thenRefused('refresh_token_reused')
      given(...onPurpose)
        .whenRotating(present(generation, hour + 1))
        .thenRefused('session_revoked')
    },
  )

  test('an ended family gives that reason after it would have expired, too', () => {
    given(...byReuse)
      .whenRotating(present(1, absoluteMs))
      .thenRefused('refresh_token_reused')
    given(...onPurpose)
      .whenRotating(present(1, absoluteMs))
      .thenRefused('session_revoked')
  })

  test('an ended family is not reopened by the grace window, the same attempt or a user who may refresh', () => {
    const attemptHash = hashOf('a')
    given(issued(), rotated(1, 5, { attemptHash }), revoked(3, 6))
      .whenRotating(present(0, 7, { attemptHash }))
      .thenRefused('session_revoked')
  })
})

describe('a token of a generation the ledger does not know', () => {
  test('a token newer than a restored backup is refused, nothing is written, and the family lives on', () => {
    given(issued(), rotated(1, 5)).whenRotating(present(2, 6)).thenRefused('session_revoked')
    given(issued())
      .whenRotating(present(1, 6, { isIssued: false }))
      .thenRefused('session_revoked')
  })

  test('a token newer than the ledger is refused as such before the expiry is checked', () => {
    given(issued()).whenRotating(present(1, absoluteMs)).thenRefused('session_revoked')
  })
})

describe('an expired family', () => {
  test('an expired family refuses a spent token of any generation as expired, not as reuse', () => {
    const family = [issued(), rotated(1, 5), rotated(2, 6)]
    const expiry = 6 + idleMs
    for (const generation of [0, 1, 2])
      given(...family)
        .whenRotating(present(generation, expiry))
        .thenRefused('session_expired')
    given(...family)
      .whenRotating(present(0, expiry - 1))
      .thenRefused(
        'refresh_token_reused',
        reuseDetected(4, expiry - 1, { generation: 2, presentedGeneration: 0 }),
      )
  })

  test('an expired family gives nothing to the attempt that made its current token', () => {
    const attemptHash = hashOf('a')
    given(issued(), rotated(1, 5, { attemptHash }))
      .whenRotating(present(0, 5 + idleMs, { attemptHash }))
      .thenRefused('session_expired')
  })
})

describe('the direct predecessor', () => {
  const attemptHash = hashOf('a')

  test('the direct predecessor gets the same successor again within the grace window', () => {
    given(issued(), rotated(1, 5)).whenRotating(present(0, 6)).then(replayed(3, 6))
    given(issued(), rotated(1, 5)).whenRotating(present(0, 5)).then(replayed(3, 5))
  })

  test('the grace window lasts until its last millisecond and no longer', () => {
    const last = 5 + graceMs - 1
    given(issued(), rotated(1, 5)).whenRotating(present(0, last)).then(replayed(3, last))
    given(issued(), rotated(1, 5))
      .whenRotating(present(0, last + 1))
      .thenRefused('refresh_token_reused', reuseDetected(3, last + 1))
  })

  test('replays do not extend the grace window', () => {
    const last = 5 + graceMs - 1
    given(issued(), rotated(1, 5), replayed(3, last))
      .whenRotating(present(0, last + 1))
      .thenRefused('refresh_token_reused', reuseDetected(4, last + 1))
  })

  test('the same attempt gets the same successor an hour later as well', () => {
    const patient = { policy: { ...policy, idleMs: 2 * hour } }
    const current = rotated(1, 5, { attemptHash, expiresAt: 2 * hour, absoluteExpiresAt: 3 * hour })
    given(issued(), current)
      .whenRotating(present(0, hour, { attemptHash, ...patient }))
      .then(replayed(3, hour, { attemptHash, reason: 'same_attempt' }))
  })

  test('a replay by the same attempt within the window is recorded as the same attempt', () => {
    given(issued(), rotated(1, 5, { attemptHash }))
      .whenRotating(present(0, 6, { attemptHash }))
      .then(replayed(3, 6, { attemptHash, reason: 'same_attempt' }))
  })

  test('another attempt within the window is replayed: two tabs are not theft', () => {
    const other = hashOf('b')
    given(issued(), rotated(1, 5, { attemptHash }))
      .whenRotating(present(0, 6, { attemptHash: other }))
      .then(replayed(3, 6, { attemptHash: other }))
  })

  test.each([
    ['another attempt', hashOf('a'), hashOf('b')],
    ['an attempt that differs in its last byte', hashOf('a'), hashOf('a').with(31, 0)],
    ['an attempt that differs in its first byte', hashOf('a'), hashOf('a').with(0, 0)],
    ['no attempt', hashOf('a'), null],
    ['an attempt where the rotation had none', null, hashOf('a')],
    ['no attempt where the rotation had none', null, null],
  ])('the direct predecessor is a reuse with %s after the window', (_what, made, presented) => {
    const at = 5 + graceMs
    given(issued(), rotated(1, 5, { attemptHash: made }))
      .whenRotating(present(0, at, { attemptHash: presented }))
      .thenRefused('refresh_token_reused', reuseDetected(3, at))
  })

  test('a window of 0 forgives only the same attempt', () => {
    given(issued(), rotated(1, 5))
      .whenRotating(present(0, 5, { policy: strict }))
      .thenRefused('refresh_token_reused', reuseDetected(3, 5))
    given(issued(), rotated(1, 5, { attemptHash }))
      .whenRotating(present(0, 5, { policy: strict, attemptHash }))
      .then(replayed(3, 5, { attemptHash, reason: 'same_attempt' }))
  })

  test('the direct predecessor is a reuse in an active family even after the token itself would have expired', () => {
    given(issued(), rotated(1, idleMs - 1))
      .whenRotating(present(0, idleMs - 1 + graceMs))
      .thenRefused('refresh_token_reused', reuseDetected(3, idleMs - 1 + graceMs))
    given(issued(), rotated(1, 5), rotated(2, idleMs - 1))
      .whenRotating(present(0, idleMs + 1))
      .thenRefused(
        'refresh_token_reused',
        reuseDetected(4, idleMs + 1, { generation: 2, presentedGeneration: 0 }),
      )
  })

  test('a generation is replayed twenty times, and then refused with too_many_attempts', () => {
    const replays: LedgerEvent[] = []
    for (let i = 0; i < 20; i++) {
      given(issued(), rotated(1, 5), ...replays)
        .whenRotating(present(0, 6))
        .then(replayed(3 + i, 6))
      replays.push(replayed(3 + i, 6))
    }
    const worn = [issued(), rotated(1, 5), ...replays]
    given(...worn)
      .whenRotating(present(0, 6))
      .thenRefused('too_many_attempts')
    // The current token still works, and its successor has a count of its own.
    const second = rotated(2, 7, { seq: 23 })
    given(...worn)
      .whenRotating(present(1, 7))
      .then({ ...second, ...next })
    given(...worn, second)
      .whenRotating(present(1, 8))
      .then(replayed(24, 8, { generation: 2, presentedGeneration: 1 }))
  })

  test('a user who is gone or disabled gets no replay, and is not taken for reuse either', () => {
    for (const at of [6, 5 + graceMs])
      given(issued(), rotated(1, 5))
        .whenRotating(present(0, at, { userMayRefresh: false }))
        .thenRefused('session_revoked')
  })
})

describe('another attempt within the window (rule 6)', () => {
  const other = { ip: '198.51.100.9', userAgent: 'another browser' }

  test('another attempt from another network with another user agent is a reuse', () => {
    given(issued(), rotated(1, 5))
      .whenRotating(present(0, 6, { caller: other }))
      .thenRefused('refresh_token_reused', reuseDetected(3, 6))
  })

  test.each([
    ['the network of the rotation', { ...other, ip: '192.0.2.250' }],
    ['the user agent of the rotation', { ...other, userAgent: owner.userAgent }],
  ])('another attempt with %s is replayed', (_what, caller) => {
    given(issued(), rotated(1, 5))
      .whenRotating(present(0, 6, { caller }))
      .then(replayed(3, 6))
  })

  test('the same attempt is replayed from anywhere', () => {
    const attemptHash = hashOf('a')
    given(issued(), rotated(1, 5, { attemptHash }))
      .whenRotating(present(0, 5 + graceMs, { attemptHash, caller: other }))
      .then(replayed(3, 5 + graceMs, { attemptHash, reason: 'same_attempt' }))
  })

  test('the current token is rotated from anywhere', () => {
    given(issued(), rotated(1, 5))
      .whenRotating(present(1, 9, { caller: other }))
      .then(rotated(2, 9, next))
  })
})

describe('a sign-out', () => {
  const family = foldFamily([issued(), rotated(1, 5), rotated(2, 6)])
  const signOut = (generation: number, isIssued = true, now = 7) =>
    decideSignOut(family, { generation, isIssued }, now)

  test('the current token, its direct predecessor and a token newer than the ledger sign out', () => {
    for (const generation of [1, 2]) expect(signOut(generation)).toBe('sign_out')
    expect(signOut(3, false)).toBe('sign_out')
  })

  test('a token that was spent twice over is a reuse, at a sign-out as at a refresh', () => {
    const reuse = reuseDetected(4, 7, { generation: 2, presentedGeneration: 0 })
    expect(signOut(0)).toEqual(reuse)
  })

  test('the token that a new authentication replaced is a reuse at a sign-out, too', () => {
    const proved = foldFamily([issued(), rotated(1, 5), reauthenticated(2, 6)])
    expect(decideSignOut(proved, { generation: 1, isIssued: true }, 7)).toEqual(
      reuseDetected(4, 7, { generation: 2, presentedGeneration: 1 }),
    )
    expect(decideSignOut(proved, { generation: 2, isIssued: true }, 7)).toBe('sign_out')
  })

  test('a token that was not issued, and any token of a family that is over, ends nothing', () => {
    for (const generation of [0, 1, 2]) {
      expect(signOut(generation, false)).toBeNull()
      expect(signOut(generation, true, 6 + idleMs)).toBeNull()
    }
    const over = foldFamily([issued(), rotated(1, 5), rotated(2, 6), revoked(4, 7)])
    expect(decideSignOut(over, { generation: 0, isIssued: true }, 8)).toBeNull()
  })
})

describe('a reauthentication (ASVS 5.0, 7.2.4)', () => {
  const attemptHash = hashOf('a')
  const reauthentication = { methods: ['pwd'], authenticatedAt: 6 }
  const proved = [issued(), reauthenticated(1, 5, { attemptHash })]

  test('the current token is replaced, with the methods and the instant of the proof', () => {
    const { absoluteExpiresAt } = issued()
    given(issued(), rotated(1, 5))
      .whenRotating(present(1, 6, { reauthentication, attemptHash }))
      .then(
        reauthenticated(2, 6, {
          ...next,
          attemptHash,
          authentication: reauthentication,
          absoluteExpiresAt,
        }),
      )
  })

  test('its direct predecessor is a reuse at once: there is no grace window', () => {
    for (const hash of [null, hashOf('b')])
      for (const command of [{ attemptHash: hash }, { attemptHash: hash, reauthentication }])
        given(...proved)
          .whenRotating(present(0, 5, command))
          .thenRefused('refresh_token_reused', reuseDetected(3, 5))
  })

  test('the same attempt gets the same successor: its answer was lost', () => {
    for (const at of [5, 5 + graceMs])
      given(...proved)
        .whenRotating(present(0, at, { attemptHash, reauthentication }))
        .then(replayed(3, at, { attemptHash, reason: 'same_attempt' }))
  })

  test('a rotation after it has a grace window again, for its own predecessor alone', () => {
    const past = [...proved, rotated(2, 6)]
    given(...past)
      .whenRotating(present(1, 7))
      .then(replayed(4, 7, { generation: 2, presentedGeneration: 1 }))
    given(...past)
      .whenRotating(present(0, 7, { attemptHash }))
      .thenRefused(
        'refresh_token_reused',
        reuseDetected(4, 7, { generation: 2, presentedGeneration: 0 }),
      )
  })

  test('a spent token is a reuse although its user has just proved who they are', () => {
    given(issued(), rotated(1, 5), rotated(2, 6))
      .whenRotating(present(0, 7, { reauthentication }))
      .thenRefused(
        'refresh_token_reused',
        reuseDetected(4, 7, { generation: 2, presentedGeneration: 0 }),
      )
  })
})

describe('an older token', () => {
  const hashes = ['a', 'b', 'c'].map(hashOf) as [Uint8Array, Uint8Array, Uint8Array]
  const [first, second, third] = hashes
  const family = [
    issued(),
    rotated(1, 5, { attemptHash: first }),
    rotated(2, 6, { attemptHash: second }),
    rotated(3, 7, { attemptHash: third }),
  ]
  const reuse = (presentedGeneration: number, at: number) =>
    reuseDetected(5, at, { generation: 3, presentedGeneration })
  const replay = (presentedGeneration: number, at: number, attemptHash: Uint8Array | null) =>
    replayed(5, at, { generation: 3, presentedGeneration, attemptHash, reason: 'same_attempt' })

  test('an older token is a reuse even within the window and with a known attempt', () => {
    for (const attemptHash of hashes)
      given(...family)
        .whenRotating(present(1, 7, { attemptHash }))
        .thenRefused('refresh_token_reused', reuse(1, 7))
  })

  test.each([0, 1])(
    'an older token, of generation %i, gets the current one from a client that names the attempts of all rotations since, an hour later as well',
    (generation) => {
      for (const at of [7, 7 + idleMs - 1])
        given(...family)
          .whenRotating(present(generation, at, { previousAttemptHashes: hashes }))
          .then(replay(generation, at, null))
      const attemptHash = third
      given(...family)
        .whenRotating(
          present(generation, 7, { attemptHash, previousAttemptHashes: [second, first] }),
        )
        .then(replay(generation, 7, attemptHash))
    },
  )

  test.each(['a', 'b', 'c'])(
    'an older token is a reuse where the client does not name the attempt %s',
    (unknown) => {
      const previousAttemptHashes = hashes.filter((one) => one[0] !== hashOf(unknown)[0])
      given(...family)
        .whenRotating(present(0, 7, { attemptHash: hashOf('z'), previousAttemptHashes }))
        .thenRefused('refresh_token_reused', reuse(0, 7))
    },
  )

  test('a client that names the attempts of the rotations that were read does not name those before them', () => {
    const history = byOwner(family.slice(2))
    expect(
      decideRotation(foldFamily(family), present(0, 7, { history, previousAttemptHashes: hashes })),
    ).toEqual({
      event: reuse(0, 7),
      refusal: 'refresh_token_reused',
    })
  })

  test('a rotation without an attempt is named by no client', () => {
    given(issued(), rotated(1, 5), rotated(2, 6, { attemptHash: second }))
      .whenRotating(present(0, 6, { previousAttemptHashes: [second] }))
      .thenRefused(
        'refresh_token_reused',
        reuseDetected(4, 6, { generation: 2, presentedGeneration: 0 }),
      )
  })

  test('an earlier attempt does not open the grace window to another client, nor to an older token', () => {
    const previousAttemptHashes = [first, second]
    given(...family)
      .whenRotating(present(1, 7, { previousAttemptHashes }))
      .thenRefused('refresh_token_reused', reuse(1, 7))
    given(...family)
      .whenRotating(present(2, 7 + graceMs, { previousAttemptHashes }))
      .thenRefused('refresh_token_reused', reuse(2, 7 + graceMs))
  })
})

describe('a token that was not issued', () => {
  test.each([0, 1])(
    'a token that was not issued revokes nothing at generation %i',
    (generation) => {
      for (const now of [6, 5 + graceMs, 5 + idleMs])
        given(issued(), rotated(1, 5))
          .whenRotating(present(generation, now, { isIssued: false }))
          .thenRefused('refresh_token_malformed')
    },
  )

  test('a token that was not issued does not reveal that a family has ended', () => {
    given(issued(), rotated(1, 5), revoked(3, 6))
      .whenRotating(present(1, 7, { isIssued: false }))
      .thenRefused('refresh_token_malformed')
  })
})

test.each([0, 1, 2])('generation %i in the other transport is transport_mismatch', (generation) => {
  for (const now of [6, 5 + graceMs, 5 + idleMs])
    given(issued(), rotated(1, 5))
      .whenRotating(presentInBody(generation, now))
      .thenRefused('transport_mismatch')
})

describe('a revocation', () => {
  const command = { reason: 'admin_revoked', actorUserId: userId, now: 9 } as const

  test('a revocation ends an active family once', () => {
    const end = revoked(3, 9, { reason: 'admin_revoked' })
    expect(decideRevocation(foldFamily([issued(), rotated(1, 5)]), command)).toEqual(end)
    expect(decideRevocation(foldFamily([issued(), rotated(1, 5), end]), command)).toBeNull()
  })

  test('a revocation does nothing from the millisecond of expiry on', () => {
    const family = foldFamily([issued()])
    expect(decideRevocation(family, { ...command, now: idleMs - 1 })).not.toBeNull()
    expect(decideRevocation(family, { ...command, now: idleMs })).toBeNull()
  })
})
