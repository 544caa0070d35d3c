import type { InfiniteData, UseInfiniteQueryResult } from '@tanstack/react-query'
import { useEffect, useRef, type ReactNode } from 'react'
import { words } from '../words/common.ts'
import { waitingWords } from './answer.tsx'
import { Failed, Loading } from './states.tsx'

type Page<Item> = { readonly items: readonly Item[]; readonly nextCursor: string | null }

/** For `useInfiniteQuery`: the procedures that list answer `{ items, nextCursor }`. */
export const pages = {
  initialPageParam: undefined as string | undefined,
  getNextPageParam: (page: Page<unknown>) => page.nextCursor ?? undefined,
}

/** A list that goes on: the next page is loaded when its end comes into view, or by the button. */
export function Pages<Item>({
  query,
  empty,
  isOnDemand = false,
  children,
}: {
  readonly query: UseInfiniteQueryResult<InfiniteData<Page<Item>>>
  /** Shown where there is no item at all. */
  readonly empty: ReactNode
  /** The next page is loaded by the button alone: for a list with something below it. */
  readonly isOnDemand?: boolean
  readonly children: (items: readonly Item[]) => ReactNode
}): ReactNode {
  const { data, error, hasNextPage, isFetchingNextPage, fetchNextPage } = query
  if (data === undefined) {
    if (error !== null) return <Failed error={error} again={() => void query.refetch()} />
    return <Loading>{waitingWords(query.failureReason, query.fetchStatus === 'paused')}</Loading>
  }
  const items = data.pages.flatMap((page) => page.items)
  // A search may have a page without items and go on.
  if (items.length === 0 && !hasNextPage && error === null) return empty
  const next = () => void fetchNextPage()
  return (
    <>
      {items.length > 0 && children(items)}
      {error !== null ? (
        <Failed error={error} again={hasNextPage ? next : () => void query.refetch()} />
      ) : (
        hasNextPage && (
          <NextPage isLoading={isFetchingNextPage} isOnDemand={isOnDemand} load={next} />
        )
      )}
    </>
  )
}

function NextPage({
  isLoading,
  isOnDemand,
  load,
}: {
  readonly isLoading: boolean
  readonly isOnDemand: boolean
  readonly load: () => void
}): ReactNode {
  const button = useRef<HTMLButtonElement>(null)
  useEffect(() => {
    if (button.current === null || isLoading || isOnDemand) return
    const observer = new IntersectionObserver(([entry]) => {
      if (entry?.isIntersecting === true) load()
    })
    observer.observe(button.current)
    return () => observer.disconnect()
  })
  return (
    <div className="more">
      <button ref={button} type="button" className="quiet" disabled={isLoading} onClick={load}>
        {isLoading ? words.loadingMore : words.loadMore}
      </button>
    </div>
  )
}
