import { useInfiniteQuery } from '@tanstack/react-query'
import { getRouteApi } from '@tanstack/react-router'
import { useState, type ReactNode } from 'react'
import { askAgain } from '../../parts/ask-again.ts'
import { Confirm } from '../../parts/confirm.tsx'
import { pages, Pages } from '../../parts/more.tsx'
import { Screen } from '../../parts/screen.tsx'
import { Done, Empty } from '../../parts/states.tsx'
import { formatCount } from '../../format.ts'
import { queryClient, trpc } from '../../service.ts'
import { words } from '../../words/sessions.ts'
import type { SessionSearch } from './search.ts'
import { SessionFilter } from './session-filter.tsx'
import { SessionTable, type SessionItem } from './session-table.tsx'

const route = getRouteApi('/admins/sessions')

/** The service ends no more in one transaction. */
const maxSelected = 100

/** Finds sessions, and ends several with one reason. */
export function Sessions(): ReactNode {
  const search = route.useSearch()
  const key = JSON.stringify(search)
  return (
    <Screen title={words.title}>
      <SessionFilter key={`filter ${key}`} search={search} />
      <Found key={key} search={search} />
    </Screen>
  )
}

/** What a search has found. Another search begins with nothing selected: what is ended is on the screen. */
function Found({ search: { person, ...search } }: { readonly search: SessionSearch }): ReactNode {
  const filter = { ...search, emailPrefix: person }
  const query = useInfiniteQuery({
    queryKey: ['admin', 'sessions', 'list', filter],
    queryFn: ({ pageParam: cursor, signal }) =>
      trpc.admin.sessions.list.query({ ...filter, cursor }, { signal }),
    ...pages,
  })
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set())
  const [isEnding, setIsEnding] = useState(false)
  const [done, setDone] = useState<string | null>(null)
  const end = async (reason: string) => {
    const { revoked, items } = await trpc.admin.sessions.revokeMany.mutate({
      familyIds: [...selected],
      reason,
    })
    setDone(outcomeWords(revoked, items.length - revoked))
    setSelected(new Set())
    await askAgain(queryClient, ['admin'])
  }
  return (
    <>
      <section className="card" aria-label={words.caption}>
        {done !== null && <Done>{done}</Done>}
        <Pages query={query} empty={<Empty>{words.none}</Empty>}>
          {(items) => (
            <>
              <Selection
                items={items}
                selected={selected}
                select={setSelected}
                end={() => setIsEnding(true)}
              />
              <SessionTable items={items} selected={selected} select={setSelected} />
            </>
          )}
        </Pages>
      </section>
      {isEnding && (
        <Confirm
          title={words.endTitle}
          verb={words.end}
          needsReason
          act={end}
          onClose={() => setIsEnding(false)}
        >
          <p>{countWords(selected.size)}</p>
          <p>{words.endText}</p>
        </Confirm>
      )}
    </>
  )
}

/** What is selected, and what can be done with it. */
function Selection({
  items,
  selected,
  select,
  end,
}: {
  readonly items: readonly SessionItem[]
  readonly selected: ReadonlySet<string>
  readonly select: (ids: ReadonlySet<string>) => void
  readonly end: () => void
}): ReactNode {
  const active = items.filter(({ status }) => status === 'active').map(({ familyId }) => familyId)
  const isTooMany = selected.size > maxSelected
  return (
    <div className="selection">
      <span aria-live="polite">{countWords(selected.size)}</span>
      <div className="actions">
        <button
          type="button"
          className="quiet small"
          disabled={active.length === 0}
          onClick={() => select(new Set(active.slice(0, maxSelected)))}
        >
          {words.selectAll}
        </button>
        <button
          type="button"
          className="quiet small"
          disabled={selected.size === 0}
          onClick={() => select(new Set())}
        >
          {words.selectNone}
        </button>
        <button
          type="button"
          className="danger small"
          disabled={selected.size === 0 || isTooMany}
          onClick={end}
        >
          {words.end}
        </button>
      </div>
      {isTooMany && <p className="hint">{words.tooMany}</p>}
    </div>
  )
}

function countWords(count: number): string {
  return formatCount(count, { one: words.selectedOne, other: words.selectedOther })
}

function outcomeWords(ended: number, wereOver: number): string {
  const first = formatCount(ended, { one: words.endedOne, other: words.endedOther })
  if (wereOver === 0) return first
  return `${first} ${formatCount(wereOver, { one: words.wasOverOne, other: words.wasOverOther })}`
}
