import type { UseQueryResult } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { problemOf, problemWords, words } from '../words/common.ts'
import { Failed, Loading } from './states.tsx'

/**
 * What a query has answered. Until then it says what it waits for; an answer that could not be renewed stays, with a
 * line that says so.
 */
export function Answer<Data>({
  query,
  children,
}: {
  readonly query: UseQueryResult<Data>
  readonly children: (data: Data) => ReactNode
}): ReactNode {
  const { data, error, failureReason, fetchStatus } = query
  const again = () => void query.refetch()
  if (data === undefined) {
    if (error !== null) return <Failed error={error} again={again} />
    return <Loading>{waitingWords(failureReason, fetchStatus === 'paused')}</Loading>
  }
  return (
    <>
      {error !== null && <Failed error={error} again={again} />}
      {children(data)}
    </>
  )
}

/** What a query waits for that has not answered yet. */
export function waitingWords(failure: unknown, isOffline: boolean): string {
  if (isOffline) return problemWords('network_error', null)
  if (failure === null) return words.loading
  return `${problemOf(failure)} ${words.tryingAgain}`
}
