import type { Incident } from '../../db/audit/incidents.ts'

/** What of an incident suggests a theft, and what a client that lost a token or keeps an old one. */
export type Signs = {
  readonly theft: TheftSign[]
  readonly brokenClient: ClientSign[]
}

type TheftSign = 'other_network' | 'other_user_agent' | 'several_generations_behind' | 'long_after'
type ClientSign = 'same_network' | 'same_user_agent' | 'direct_predecessor' | 'soon_after'

/** A client that retries does so within a minute; a thief rarely is that quick. */
const soonMs = 60_000

/** By then a client that works has refreshed several times. */
const longMs = 3_600_000

/** Signs only: a thief can share the network and copy the user agent. */
export function signsOf({
  sameNetwork,
  sameUserAgent,
  generationsBehind,
  sinceRotationMs,
}: Pick<
  Incident,
  'sameNetwork' | 'sameUserAgent' | 'generationsBehind' | 'sinceRotationMs'
>): Signs {
  const theft: TheftSign[] = []
  const brokenClient: ClientSign[] = []
  if (sameNetwork === false) theft.push('other_network')
  if (sameNetwork === true) brokenClient.push('same_network')
  if (sameUserAgent === false) theft.push('other_user_agent')
  if (sameUserAgent === true) brokenClient.push('same_user_agent')
  if (generationsBehind > 1) theft.push('several_generations_behind')
  else brokenClient.push('direct_predecessor')
  if (sinceRotationMs > longMs) theft.push('long_after')
  if (sinceRotationMs <= soonMs) brokenClient.push('soon_after')
  return { theft, brokenClient }
}
