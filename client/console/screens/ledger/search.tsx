import { useInfiniteQuery } from '@tanstack/react-query'
import { useState, type ReactNode } from 'react'
import { Field } from '../../parts/field.tsx'
import { formText } from '../../parts/form-text.ts'
import { pages, Pages } from '../../parts/more.tsx'
import { Screen, Section } from '../../parts/screen.tsx'
import { Empty } from '../../parts/states.tsx'
import { Table } from '../../parts/table.tsx'
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
        {(props) => <input {...props} name="person" maxLength={254} autoComplete="off" />}
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

const uuid = '[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}'

async function ask({ kind, person, familyId, from, to }: Asked, cursor: string | undefined) {
  const userId = person === '' ? undefined : await userIdOf(person)
  if (userId === null) return { items: [], nextCursor: null }
  return trpc.admin.ledger.events.query({
    ...(kind !== '' && { kinds: [kind] }),
    ...(userId !== undefined && { userId }),
    ...(familyId !== '' && { familyId }),
    ...(from !== '' && { from: new Date(from).toISOString() }),
    ...(to !== '' && { to: new Date(to).toISOString() }),
    ...(cursor !== undefined && { cursor }),
  })
}

/** @returns null when no account has that address */
async function userIdOf(person: string): Promise<string | null> {
  if (new RegExp(`^${uuid}$`).test(person)) return person
  const { items } = await trpc.admin.users.list.query({ email: person, limit: 1 })
  const [found] = items
  return found?.email === person.toLowerCase() ? found.userId : null
}
