import { expect, test } from 'vitest'
import { decideRotation } from '../../server/ledger/decide.ts'
import { foldFamily } from '../../server/ledger/family.ts'
import { sightReplay, type Witnessed } from '../../server/ledger/sighting.ts'
import {
  issued,
  owner,
  policy,
  present,
  replayed,
  reuseDetected,
  rotated,
} from '../support/family-events.ts'

/** The owner's user agent from another network. */
const elsewhere = { ...owner, ip: '198.51.100.9' }

/** A family whose generations were replayed from elsewhere (`E`), from the owner's network (`h`) or not at all (`-`). */
function historyOf(generations: string): Witnessed[] {
  const history: Witnessed[] = [{ event: issued(), caller: owner }]
  for (const [i, replays] of generations.split(' ').entries()) {
    const generation = i + 1
    const seq = () => history.length + 1
    history.push({ event: rotated(generation, generation, { seq: seq() }), caller: owner })
    for (const replay of replays.replace('-', '')) {
      const event = replayed(seq(), generation, { generation, presentedGeneration: i })
      history.push({ event, caller: replay === 'E' ? elsewhere : owner })
    }
  }
  return history
}

test.each([
  ['E E -', true],
  ['E hE h', true],
  ['- E E -', true],
  ['-', false],
  ['E -', false],
  ['E - -', false],
  ['E h -', false],
  ['E - E -', false],
])('after %s, a replay from elsewhere is a suspicion: %s', (generations, isSuspicious) => {
  expect(sightReplay(historyOf(generations), elsewhere)).toMatchObject({
    rotation: owner,
    isElsewhere: true,
    isSuspicious,
    isRepeated: isSuspicious,
  })
})

test.each(['E E E', 'E E E -', 'E E E E -'])(
  'after %s, a replay from elsewhere belongs to a suspicion that was reported before',
  (generations) => {
    expect(sightReplay(historyOf(generations), elsewhere)).toMatchObject({
      isSuspicious: false,
      isRepeated: true,
    })
  },
)

test('a replay from the network of the rotation is no suspicion', () => {
  const calm = { isElsewhere: false, isSuspicious: false, isRepeated: false }
  expect(sightReplay(historyOf('E E -'), owner)).toMatchObject(calm)
  expect(sightReplay(historyOf('E E -'), { ...owner, ip: null })).toMatchObject(calm)
})

test('three generations in a row replayed from elsewhere end the session only with REPLAYS_ELSEWHERE=end', () => {
  const history = historyOf('E E -')
  const family = foldFamily(history.map(({ event }) => event))
  const third = present(2, 4, { caller: elsewhere, history })
  expect(decideRotation(family, third)).toMatchObject({
    refusal: null,
    event: { kind: 'replayed' },
  })
  const ends = { ...third, policy: { ...policy, replaysElsewhere: 'end' } } as const
  const reuse = reuseDetected(7, 4, { generation: 3, presentedGeneration: 2 })
  expect(decideRotation(family, ends)).toEqual({ event: reuse, refusal: 'refresh_token_reused' })
  const atHome = { ...ends, presented: { ...ends.presented, caller: owner } }
  expect(decideRotation(family, atHome)).toMatchObject({ refusal: null })
})
