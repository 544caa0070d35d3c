import { useMutation } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { formatCount } from '../../format.ts'
import { Badge } from '../../parts/badge.tsx'
import { Foreign } from '../../parts/foreign.tsx'
import { Failed } from '../../parts/states.tsx'
import { trpc } from '../../service.ts'
import { words as common } from '../../words/common.ts'
import { words } from '../../words/session.ts'
import type { SessionLife } from './session-life.ts'

/** What the database says of the chain: as the session was read, and when asked again. */
export function Chain({
  familyId,
  known,
}: {
  readonly familyId: string
  readonly known: SessionLife['chain']
}): ReactNode {
  const verify = useMutation({ mutationFn: () => trpc.admin.ledger.verify.query({ familyId }) })
  const { data } = verify
  const { intact, events } = data ?? known
  const [broken] = data === undefined ? [known] : data.broken
  return (
    <>
      <div role="status">
        <p>
          <Badge tone={intact ? 'good' : 'bad'}>{intact ? words.intact : words.broken}</Badge>{' '}
          {formatCount(events, { one: words.eventsOne, other: words.eventsOther })}
          {data !== undefined && ` ${words.verifiedAgain}`}
        </p>
        <p className="faint">{intact ? words.chainIntact : words.chainBroken}</p>
        {!intact && broken !== undefined && (
          <p>
            {words.firstBroken}: {broken.firstBrokenSeq ?? common.unknown}.{' '}
            <Foreign text={broken.problem} isWhole />
          </p>
        )}
      </div>
      {verify.error !== null && <Failed error={verify.error} />}
      <div className="actions">
        <button
          type="button"
          className="quiet"
          disabled={verify.isPending}
          onClick={() => verify.mutate()}
        >
          {verify.isPending ? words.verifying : words.verify}
        </button>
      </div>
    </>
  )
}
