import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decideRevocation, decideRotation } from '../../server/ledger/decide.ts'
import { isSuccession, type Authentication, type LedgerEvent } from '../../server/ledger/events.ts'
import { expiryOf, foldFamily, isActive } from '../../server/ledger/family.ts'
import {
  absoluteMs,
  byOwner,
  hashOf,
  idleMs,
  issued,
  present,
  replayed,
  reuseDetected,
  revoked,
  rotated,
  userId,
} from '../support/family-events.ts'

const step = fc.record({
  presents: fc.nat(6),
  after: fc.nat(20_000),
  attempt: fc.constantFrom('a', 'b', null),
  revokes: fc.nat(30).map((n) => n === 0),
  proves: fc.nat(5).map((n) => n === 0),
})

/** Histories that the rules themselves produce: all of them are legal. */
const legalHistory = fc.array(step, { maxLength: 40 }).map((steps) => {
  const events: LedgerEvent[] = [issued()]
  let now = 0
  for (const { presents, after, attempt, revokes, proves } of steps) {
    now += after
    const family = foldFamily(events)
    const generation = Math.max(0, family.current.generation - Math.max(0, presents - 4))
    const attemptHash = attempt === null ? null : hashOf(attempt)
    const history = byOwner(events)
    const event = revokes
      ? decideRevocation(family, { reason: 'logout', actorUserId: userId, now })
      : decideRotation(
          family,
          present(generation, now, {
            attemptHash,
            history,
            ...(proves && { reauthentication: { methods: ['otp'], authenticatedAt: now } }),
          }),
        ).event
    if (event !== null) events.push(event)
  }
  return events
})

test('folding a whole history and folding its tail give the same family', () => {
  const kinds = new Set<string>()
  fc.assert(
    fc.property(legalHistory, (events) => {
      for (const { kind } of events) kinds.add(kind)
      const made = events.findLastIndex((e) => e.kind === 'issued' || isSuccession(e))
      expect(foldFamily(events.slice(made))).toEqual(foldFamily(events))
    }),
    { numRuns: 500 },
  )
  expect([...kinds].toSorted()).toEqual([
    'issued',
    'reauthenticated',
    'replayed',
    'reuse_detected',
    'revoked',
    'rotated',
  ])
})

test('a rotation has the methods and the instant of the token that it replaces, and only a new proof changes them', () => {
  fc.assert(
    fc.property(legalHistory, (events) => {
      let known: Authentication | null = null
      for (const event of events) {
        if (event.kind === 'rotated') expect(event.authentication).toEqual(known)
        else if (event.kind === 'issued' || event.kind === 'reauthenticated')
          known = event.authentication
      }
    }),
  )
  const old = foldFamily([issued({ authentication: null })])
  expect(decideRotation(old, present(0, 5)).event).toMatchObject({ authentication: null })
})

test('seq has no gaps, generations follow one another, and nothing comes after the end', () => {
  fc.assert(
    fc.property(legalHistory, (events) => {
      expect(events.map(({ seq }) => seq)).toEqual(events.map((_, i) => i + 1))
      const generations = events.filter(isSuccession).map((e) => e.generation)
      expect(generations).toEqual(generations.map((_, i) => i + 1))
      const ends = events.findIndex((e) => e.kind === 'reuse_detected' || e.kind === 'revoked')
      expect([-1, events.length - 1]).toContain(ends)
    }),
  )
})

test('RT-10 (ASVS 10.4.8): no history of rotations moves the absolute expiration', () => {
  fc.assert(
    fc.property(legalHistory, (events) => {
      const made = events.filter((e) => e.kind === 'issued' || isSuccession(e))
      for (const event of made) {
        expect(event.absoluteExpiresAt).toBe(absoluteMs)
        expect(event.expiresAt).toBeLessThanOrEqual(absoluteMs)
      }
    }),
  )
})

test('a family is active until the millisecond in which its current token or the family itself expires', () => {
  const family = foldFamily([issued(), rotated(1, 5)])
  expect(expiryOf(family)).toBe(5 + idleMs)
  expect(isActive(family, 4 + idleMs)).toBe(true)
  expect(isActive(family, 5 + idleMs)).toBe(false)
  const short = foldFamily([issued({ expiresAt: 9, absoluteExpiresAt: 8 })])
  expect(isActive(short, 7)).toBe(true)
  expect(isActive(short, 8)).toBe(false)
})

describe('a corrupt history is not folded', () => {
  test.each<[string, readonly LedgerEvent[]]>([
    ['no events', []],
    ['one that begins with replayed', [replayed(1, 0)]],
    ['one that begins with reuse_detected', [reuseDetected(1, 0)]],
    ['one that begins with revoked', [revoked(1, 0)]],
    ['a gap in seq', [issued(), rotated(1, 5, { seq: 3 })]],
    ['the same seq twice', [issued(), rotated(1, 5), rotated(1, 5)]],
    ['two issued', [issued(), issued({ seq: 2 })]],
    ['a rotation after a revocation', [issued(), revoked(2, 5), rotated(1, 6, { seq: 3 })]],
    ['two ends', [issued(), rotated(1, 5), reuseDetected(3, 6), revoked(4, 6)]],
    ['a generation left out', [issued(), rotated(2, 5, { seq: 2 })]],
    ['a generation twice', [issued(), rotated(1, 5), rotated(1, 6, { seq: 3 })]],
    [
      'a replay of another generation',
      [issued(), rotated(1, 5), replayed(3, 6, { generation: 2 })],
    ],
  ])('%s', (_what, events) => {
    expect(() => foldFamily(events)).toThrow(/^ledger corrupt/)
  })
})
