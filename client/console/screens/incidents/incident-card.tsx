import { Link, useLocation } from '@tanstack/react-router'
import { useEffect, useRef, type ReactNode } from 'react'
import { formatCount, formatDuration } from '../../format.ts'
import { Badge } from '../../parts/badge.tsx'
import { Id } from '../../parts/copy.tsx'
import { Foreign } from '../../parts/foreign.tsx'
import { personOf } from '../../parts/person.ts'
import { Ago, Time } from '../../parts/time.tsx'
import { words } from '../../words/incidents.ts'
import { EndAllOf } from './end-all.tsx'
import type { Incident } from './incident.ts'
import { Signs } from './signs.tsx'

const tones = { theft: 'bad', client: 'plain', open: 'warn' } as const

/** What the guide for admins advises: another network or program is treated as theft. */
function leaningOf({ sameNetwork, sameUserAgent }: Incident): keyof typeof tones {
  if (sameNetwork === false || sameUserAgent === false) return 'theft'
  return sameNetwork === true && sameUserAgent === true ? 'client' : 'open'
}

/** One incident: both uses beside each other, what they suggest, and what can be done. */
export function IncidentCard({ incident }: { readonly incident: Incident }): ReactNode {
  const { incidentId, kind, occurredAt, familyId } = incident
  const card = useRef<HTMLElement>(null)
  const isChosen = useLocation({ select: ({ hash }) => hash === incidentId })
  useEffect(() => {
    if (isChosen) card.current?.scrollIntoView({ block: 'start' })
  }, [isChosen])
  const leaning = leaningOf(incident)
  return (
    <article
      ref={card}
      className={isChosen ? 'incident chosen' : 'incident'}
      aria-labelledby={incidentId}
    >
      <div className="section-head">
        <h3 id={incidentId}>
          {words.kinds[kind]} <Ago at={occurredAt} />
        </h3>
        <Badge tone={tones[leaning]}>{words.leanings[leaning]}</Badge>
      </div>
      <p className="faint">{kind === 'reuse' ? words.ended : words.goesOn}</p>
      <dl className="facts">
        <dt>{words.person}</dt>
        <dd>
          <Foreign text={personOf(incident, '')} />
        </dd>
        <dt>{words.incidentId}</dt>
        <dd>
          <Id id={incidentId} what={words.incidentId} />
        </dd>
      </dl>
      <Uses incident={incident} />
      <Signs incident={incident} />
      <div className="actions">
        <Link className="button" to="/sessions/$familyId" params={{ familyId }}>
          {words.openSession}
        </Link>
        <EndAllOf userId={incident.userId} />
      </div>
    </article>
  )
}

/** Which use was whose: the one that was noticed, and the newest of the session. */
function Uses({ incident }: { readonly incident: Incident }): ReactNode {
  const { occurredAt, sinceRotationMs, generationsBehind } = incident
  const rotatedAt = new Date(Date.parse(occurredAt) - sinceRotationMs).toISOString()
  return (
    <div className="columns">
      <Use title={words.refusedUse} at={occurredAt} {...incident}>
        <dt>{words.behind}</dt>
        <dd>{formatCount(generationsBehind, words.tokens)}</dd>
        <dt>{words.since}</dt>
        <dd>{formatDuration(sinceRotationMs)}</dd>
      </Use>
      <Use
        title={words.newestUse}
        at={rotatedAt}
        ip={incident.rotationIp}
        userAgent={incident.rotationUserAgent}
      />
    </div>
  )
}

function Use({
  title,
  at,
  ip,
  userAgent,
  children,
}: {
  readonly title: string
  readonly at: string
  readonly ip: string | null
  readonly userAgent: string | null
  readonly children?: ReactNode
}): ReactNode {
  return (
    <section className="use">
      <h4>{title}</h4>
      <dl className="facts">
        <dt>{words.when}</dt>
        <dd>
          <Time at={at} />
        </dd>
        <dt>{words.address}</dt>
        <dd>
          <Foreign text={ip} />
        </dd>
        <dt>{words.program}</dt>
        <dd>
          <Foreign text={userAgent} isWhole />
        </dd>
        {children}
      </dl>
    </section>
  )
}
