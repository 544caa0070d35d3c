import { Link } from '@tanstack/react-router'
import type { ReactNode } from 'react'
import { formatNumber } from '../../format.ts'
import { Id } from '../../parts/copy.tsx'
import { Device } from '../../parts/device.tsx'
import { Foreign } from '../../parts/foreign.tsx'
import { personOf } from '../../parts/person.ts'
import { Status } from '../../parts/status.tsx'
import { Time } from '../../parts/time.tsx'
import { reasonWords } from '../../words/session-terms.ts'
import { words } from '../../words/session.ts'
import type { SessionLife } from './session-life.ts'

export function Facts({ session }: { readonly session: SessionLife }): ReactNode {
  const { familyId, userId, endReason, incidentId } = session
  return (
    <dl className="facts">
      <Fact name={words.person}>
        {userId === null ? (
          words.erased
        ) : (
          <Link to="/sessions" search={{ userId }}>
            <Foreign text={personOf(session, words.erased)} />
          </Link>
        )}
      </Fact>
      <Fact name={words.status}>
        <Status status={session.status} />
      </Fact>
      {endReason !== null && <Fact name={words.why}>{reasonWords[endReason]}</Fact>}
      {session.endedAt !== null && (
        <Fact name={words.endedAt}>
          <Time at={session.endedAt} />
        </Fact>
      )}
      {incidentId !== null && (
        <Fact name={words.incident}>
          <Id id={incidentId} what={words.incident} />
        </Fact>
      )}
      <Fact name={words.device}>
        <Device {...session} />
      </Fact>
      <Fact name={words.userAgent}>
        <Foreign text={session.userAgent} isWhole />
      </Fact>
      <Fact name={words.address}>
        <Foreign text={session.ip} />
      </Fact>
      <Fact name={words.since}>
        <Time at={session.createdAt} />
      </Fact>
      <Fact name={words.lastUsed}>
        <Time at={session.lastRotatedAt} />
      </Fact>
      <Fact name={words.rotations}>{formatNumber(session.rotations)}</Fact>
      <Fact name={words.validUntil}>
        <Time at={session.expiresAt} />
      </Fact>
      <Fact name={words.absoluteEnd}>
        <Time at={session.absoluteExpiresAt} />
      </Fact>
      <Fact name={words.transport}>{words.transports[session.transport]}</Fact>
      <Fact name={words.id}>
        <Id id={familyId} what={words.id} />
      </Fact>
      <Fact name={words.command}>
        <Id id={`token-ledger sessions inspect ${familyId}`} what={words.commandName} />
      </Fact>
    </dl>
  )
}

function Fact({
  name,
  children,
}: {
  readonly name: string
  readonly children: ReactNode
}): ReactNode {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  )
}
