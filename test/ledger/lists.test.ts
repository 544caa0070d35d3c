import { expect, expectTypeOf, test } from 'vitest'
import {
  eventKinds,
  replayReasons,
  revocationReasons,
  type EventKind,
  type LedgerEvent,
} from '../../server/ledger/events.ts'
import { freshDatabase } from '../support/database.ts'

test('every event has a kind of the list, and the list has no other', () => {
  expectTypeOf<EventKind>().toEqualTypeOf<LedgerEvent['kind']>()
})

test('the database takes the kinds and reasons of the lists, and no others', async () => {
  await using database = await freshDatabase()
  const [row] = await database.ownerSql<{ definition: string }[]>`
    select pg_get_constraintdef(oid) as definition
    from pg_constraint
    where conname = 'token_event_shape' and conrelid = 'token_ledger.token_event'::regclass`
  const words = Array.from(row!.definition.matchAll(/'(\w+)'::text/g), ([, word = '']) => word)
  expect(words.toSorted()).toEqual(
    [...eventKinds, ...replayReasons, ...revocationReasons].toSorted(),
  )
})
