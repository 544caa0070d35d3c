import { describe, expect, test } from 'vitest'
import { decideRevocation } from '../../server/ledger/decide.ts'
import type { LedgerEvent } from '../../server/ledger/events.ts'
import { foldFamily } from '../../server/ledger/family.ts'
import {
  absoluteMs,
  graceMs,
  hashOf,
  idleMs,
  issued,
  nextHash,
  nextSalt,
  present,
  presentInBody,
  replayed,
  reuseDetected,
  revoked,
  rotated,
  userId,
} from '../support/family-events.ts'
import { given } from '../support/family-spec.ts'

const hour = 3600 * 1000
const next = { tokenHash: nextHash, salt: nextSalt }
const strict = { graceMs: 0, idleMs }

describe('the current token', () => {
  test('is rotated: the next generation follows (RFC 9700 §4.14.2)', () => {
    given(issued())
      .whenRotating(present(0, 5))
      .then(rotated(1, 5, next))
    given(issued(), rotated(1, 5))
      .whenRotating(present(1, 9))
      .then(rotated(2, 9, next))
  })

  test('is rotated after its predecessor was replayed', () => {
    given(issued(), rotated(1, 5), replayed(3, 6))
      .whenRotating(present(1, 9))
      .then(rotated(2, 9, { ...next, seq: 4 }))
  })

  test('leaves the hash of the attempt on the rotation', () => {
    given(issued())
      .whenRotating(present(0, 5, { attemptHash: hashOf('a') }))
      .then(rotated(1, 5, { ...next, attemptHash: hashOf('a') }))
  })

  test('works until the last millisecond before its inactivity timeout (ASVS 5.0, 7.3.1)', () => {
    given(issued())
      .whenRotating(present(0, idleMs - 1))
      .then(rotated(1, idleMs - 1, next))
    given(issued()).whenRotating(present(0, idleMs)).thenRefused('session_expired')
  })

  test('never outlives the absolute expiration (ASVS 5.0, 7.3.2 and 10.4.8)', () => {
    const busy = [issued(), rotated(1, idleMs - 1), rotated(2, 2 * idleMs - 2)]
    const last = absoluteMs - 1
    given(...busy)
      .whenRotating(present(2, last))
      .then(rotated(3, last, { ...next, expiresAt: absoluteMs }))
    given(...busy, rotated(3, last))
      .whenRotating(present(3, absoluteMs))
      .thenRefused('session_expired')
  })

  test('is refused, and nothing is written, when the user is gone or disabled', () => {
    given(issued())
      .whenRotating(present(0, 5, { userMayRefresh: false }))
      .thenRefused('session_revoked')
  })
})

describe('a family that is over', () => {
  const byReuse = [issued(), rotated(1, 5), reuseDetected(3, hour)]
  const onPurpose = [issued(), rotated(1, 5), revoked(3, hour)]

  test.each([0, 1, 2])('answers generation %i with the reason it ended', (generation) => {
    given(...byReuse)
      .whenRotating(present(generation, hour + 1))
      .thenRefused('refresh_token_reused')
    given(...onPurpose)
      .whenRotating(present(generation, hour + 1))
      .thenRefused('session_revoked')
  })

  test('answers so after it would have expired, too', () => {
    given(...byReuse)
      .whenRotating(present(1, absoluteMs))
      .thenRefused('refresh_token_reused')
    given(...onPurpose)
      .whenRotating(present(1, absoluteMs))
      .thenRefused('session_revoked')
  })

  test('is not opened by the grace window, the same attempt or a user who may refresh', () => {
    const attemptHash = hashOf('a')
    given(issued(), rotated(1, 5, { attemptHash }), revoked(3, 6))
      .whenRotating(present(0, 7, { attemptHash }))
      .thenRefused('session_revoked')
  })
})

describe('a token of a generation the ledger does not know', () => {
  test('is of a future that a restored backup lost: nothing is written, the family lives', () => {
    given(issued(), rotated(1, 5)).whenRotating(present(2, 6)).thenRefused('session_revoked')
    given(issued())
      .whenRotating(present(1, 6, { isIssued: false }))
      .thenRefused('session_revoked')
  })

  test('is refused so before the expiry is looked at', () => {
    given(issued()).whenRotating(present(1, absoluteMs)).thenRefused('session_revoked')
  })
})

describe('an expired family', () => {
  test('refuses a spent token as expired, whatever its generation: it is no reuse', () => {
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

  test('gives nothing to the attempt that made its current token', () => {
    const attemptHash = hashOf('a')
    given(issued(), rotated(1, 5, { attemptHash }))
      .whenRotating(present(0, 5 + idleMs, { attemptHash }))
      .thenRefused('session_expired')
  })
})

describe('the direct predecessor', () => {
  const attemptHash = hashOf('a')

  test('gets the same successor again within the grace window', () => {
    given(issued(), rotated(1, 5)).whenRotating(present(0, 6)).then(replayed(3, 6))
    given(issued(), rotated(1, 5)).whenRotating(present(0, 5)).then(replayed(3, 5))
  })

  test('does so until the last millisecond of the window, and not in the next', () => {
    const last = 5 + graceMs - 1
    given(issued(), rotated(1, 5)).whenRotating(present(0, last)).then(replayed(3, last))
    given(issued(), rotated(1, 5))
      .whenRotating(present(0, last + 1))
      .thenRefused('refresh_token_reused', reuseDetected(3, last + 1))
  })

  test('cannot slide the window by being replayed in it', () => {
    const last = 5 + graceMs - 1
    given(issued(), rotated(1, 5), replayed(3, last))
      .whenRotating(present(0, last + 1))
      .thenRefused('refresh_token_reused', reuseDetected(4, last + 1))
  })

  test('gets the same successor with the same attempt, an hour later as well', () => {
    const patient = { policy: { graceMs, idleMs: 2 * hour } }
    const current = rotated(1, 5, { attemptHash, expiresAt: 2 * hour, absoluteExpiresAt: 3 * hour })
    given(issued(), current)
      .whenRotating(present(0, hour, { attemptHash, ...patient }))
      .then(replayed(3, hour, { attemptHash, reason: 'same_attempt' }))
  })

  test('is said to be the same attempt also within the window', () => {
    given(issued(), rotated(1, 5, { attemptHash }))
      .whenRotating(present(0, 6, { attemptHash }))
      .then(replayed(3, 6, { attemptHash, reason: 'same_attempt' }))
  })

  test('is replayed with another attempt within the window: two tabs are no theft', () => {
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
  ])('is a reuse with %s after the window', (_what, made, presented) => {
    const at = 5 + graceMs
    given(issued(), rotated(1, 5, { attemptHash: made }))
      .whenRotating(present(0, at, { attemptHash: presented }))
      .thenRefused('refresh_token_reused', reuseDetected(3, at))
  })

  test('has no window when the window is 0, but the same attempt still has its answer', () => {
    given(issued(), rotated(1, 5))
      .whenRotating(present(0, 5, { policy: strict }))
      .thenRefused('refresh_token_reused', reuseDetected(3, 5))
    given(issued(), rotated(1, 5, { attemptHash }))
      .whenRotating(present(0, 5, { policy: strict, attemptHash }))
      .then(replayed(3, 5, { attemptHash, reason: 'same_attempt' }))
  })

  test('is a reuse in a family that lives on after the token itself would have expired', () => {
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

  test('is replayed twenty times for one generation, and then too_many_attempts', () => {
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
    // The current token is none the worse for it, and its successor counts anew.
    const second = rotated(2, 7, { seq: 23 })
    given(...worn)
      .whenRotating(present(1, 7))
      .then({ ...second, ...next })
    given(...worn, second)
      .whenRotating(present(1, 8))
      .then(replayed(24, 8, { generation: 2, presentedGeneration: 1 }))
  })

  test('is no way in for a user who is gone or disabled, and no reuse either', () => {
    for (const at of [6, 5 + graceMs])
      given(issued(), rotated(1, 5))
        .whenRotating(present(0, at, { userMayRefresh: false }))
        .thenRefused('session_revoked')
  })
})

describe('an older token', () => {
  test('is a reuse even within the window and with an attempt that is known', () => {
    const attemptHash = hashOf('a')
    given(issued(), rotated(1, 5, { attemptHash }), rotated(2, 6, { attemptHash }))
      .whenRotating(present(0, 6, { attemptHash }))
      .thenRefused(
        'refresh_token_reused',
        reuseDetected(4, 6, { generation: 2, presentedGeneration: 0 }),
      )
  })
})

describe('a token that was not issued', () => {
  test.each([0, 1])('revokes nobody at generation %i', (generation) => {
    for (const now of [6, 5 + graceMs, 5 + idleMs])
      given(issued(), rotated(1, 5))
        .whenRotating(present(generation, now, { isIssued: false }))
        .thenRefused('refresh_token_malformed')
  })

  test('is not told that a family is over', () => {
    given(issued(), rotated(1, 5), revoked(3, 6))
      .whenRotating(present(1, 7, { isIssued: false }))
      .thenRefused('refresh_token_malformed')
  })
})

test.each([0, 1, 2])('generation %i the other way is transport_mismatch', (generation) => {
  for (const now of [6, 5 + graceMs, 5 + idleMs])
    given(issued(), rotated(1, 5))
      .whenRotating(presentInBody(generation, now))
      .thenRefused('transport_mismatch')
})

describe('a revocation', () => {
  const command = { reason: 'admin_revoked', actorUserId: userId, now: 9 } as const

  test('ends an active family, once', () => {
    const end = revoked(3, 9, { reason: 'admin_revoked' })
    expect(decideRevocation(foldFamily([issued(), rotated(1, 5)]), command)).toEqual(end)
    expect(decideRevocation(foldFamily([issued(), rotated(1, 5), end]), command)).toBeNull()
  })

  test('has nothing to end from the millisecond of expiry on', () => {
    const family = foldFamily([issued()])
    expect(decideRevocation(family, { ...command, now: idleMs - 1 })).not.toBeNull()
    expect(decideRevocation(family, { ...command, now: idleMs })).toBeNull()
  })
})
