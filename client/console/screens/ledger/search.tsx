import { useInfiniteQuery } from '@tanstack/react-query'
import { useState, type ReactNode } from 'react'
import { Field } from '../../parts/field.tsx'
import { formText } from '../../parts/form-text.ts'
import { pages, Pages } from '../../parts/more.tsx'
import { uuid } from '../../parts/person.ts'
import { Screen, Section } from '../../parts/screen.tsx'
import { Empty } from '../../parts/states.tsx'
import { Table } from '../../parts/table.tsx'
import { reasonOf } from '../../problems.ts'
import { trpc } from '../../service.ts'
import { words } from '../../words/ledger.ts'
import { eventColumns } from './event-columns.tsx'
import { KindSelect, type KindChoice } from './kind-select.tsx'
import { LedgerTabs } from './ledger-tabs.tsx'

type Asked = {
  readonly kind: KindChoice
  readonly person: string
  readonly familyId: string
  readonly from: string
  readonly to: string
}

const everything: Asked = { kind: '', person: '', familyId: '', from: '', to: '' }

/** Events of the past by kind, person, session and time, newest first. */
export function LedgerSearch(): ReactNode {
  const [asked, setAsked] = useState(everything)
  const query = useInfiniteQuery({
    ...pages,
    queryKey: ['admin', 'ledger', 'events', asked],
    queryFn: ({ pageParam }) => ask(asked, pageParam),
  })
  return (
    <Screen title={words.search}>
      <LedgerTabs />
      <SearchForm ask={setAsked} />
      <Section title={words.events}>
        <Pages query={query} empty={<Empty>{words.noEvents}</Empty>}>
          {(events) => (
            <Table
              caption={words.events}
              columns={eventColumns}
              rows={events}
              keyOf={({ position }) => position}
            />
          )}
        </Pages>
      </Section>
    </Screen>
  )
}

function SearchForm({ ask: search }: { readonly ask: (asked: Asked) => void }): ReactNode {
  const [kind, setKind] = useState<KindChoice>('')
  return (
    <form
      role="search"
      className="filters"
      onSubmit={(event) => {
        event.preventDefault()
        const form = new FormData(event.currentTarget)
        const typed = (name: string) => formText(form, name).trim()
        search({
          kind,
          person: typed('person'),
          familyId: typed('familyId'),
          from: typed('from'),
          to: typed('to'),
        })
      }}
    >
      <KindSelect kind={kind} choose={setKind} />
      <Field label={words.personAsked}>
        {(props) => <input {...props} name="person" maxLength={255} autoComplete="off" />}
      </Field>
      <Field label={words.sessionId}>
        {(props) => (
          <input {...props} name="familyId" pattern={uuid} title={words.uuid} autoComplete="off" />
        )}
      </Field>
      <Field label={words.fromMoment}>
        {(props) => <input {...props} name="from" type="datetime-local" />}
      </Field>
      <Field label={words.toMoment}>
        {(props) => <input {...props} name="to" type="datetime-local" />}
      </Field>
      <button type="submit">{words.find}</button>
    </form>
  )
}

async function ask({ kind, person, familyId, from, to }: Asked, cursor: string | undefined) {
  const userId = person === '' ? undefined : await userIdOf(person)
  return trpc.admin.ledger.events.query({
    ...(kind !== '' && { kinds: [kind] }),
    ...(userId !== undefined && { userId }),
    ...(familyId !== '' && { familyId }),
    ...(from !== '' && { from: new Date(from).toISOString() }),
    ...(to !== '' && { to: new Date(to).toISOString() }),
    ...(cursor !== undefined && { cursor }),
  })
}

/** Anything else is treated as an id. */
async function userIdOf(person: string): Promise<string> {
  if (new RegExp(`^${uuid}$`).test(person)) return person.toLowerCase()
  try {
    const [found] = (await trpc.admin.users.list.query({ email: person, limit: 1 })).items
    return found?.email === person.toLowerCase() ? found.userId : person
  } catch (error) {
    // A directory of the team's own keeps the users, and is not searched by address.
    if (reasonOf(error) === 'not_found') return person
    throw error
  }
}
