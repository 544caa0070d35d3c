import { Link } from '@tanstack/react-router'
import { useState, type ReactNode } from 'react'
import { formatNumber } from '../../format.ts'
import { Badge } from '../../parts/badge.tsx'
import { Foreign } from '../../parts/foreign.tsx'
import { Done } from '../../parts/states.tsx'
import { Table } from '../../parts/table.tsx'
import { Time } from '../../parts/time.tsx'
import { words } from '../../words/users.ts'
import type { User } from './user.ts'
import { UserAct, type Act } from './user-act.tsx'

type Chosen = { readonly act: Act; readonly user: User }

export function UserTable({ users }: { readonly users: readonly User[] }): ReactNode {
  const [chosen, setChosen] = useState<Chosen | null>(null)
  const [outcome, setOutcome] = useState<string | null>(null)
  return (
    <>
      {outcome !== null && <Done>{outcome}</Done>}
      <div className="users">
        <Table
          caption={words.caption}
          rows={users}
          keyOf={({ userId }) => userId}
          columns={[
            { title: words.email, isHeader: true, cell: ({ email }) => <Foreign text={email} /> },
            { title: words.role, cell: ({ role }) => words.roles[role] },
            {
              title: words.state,
              cell: ({ disabled }) => (
                <Badge tone={disabled ? 'bad' : 'good'}>
                  {disabled ? words.disabled : words.enabled}
                </Badge>
              ),
            },
            {
              title: words.activeSessions,
              isNumber: true,
              cell: ({ activeSessions }) => formatNumber(activeSessions),
            },
            { title: words.created, cell: ({ createdAt }) => <Time at={createdAt} /> },
            {
              title: words.actions,
              cell: (user) => (
                <Acts
                  user={user}
                  choose={(act) => {
                    setOutcome(null)
                    setChosen({ act, user })
                  }}
                />
              ),
            },
          ]}
        />
      </div>
      {chosen !== null && (
        <UserAct {...chosen} onDone={setOutcome} onClose={() => setChosen(null)} />
      )}
    </>
  )
}

/** What can be done with a user as it is now. */
function Acts({
  user: { email, role, disabled },
  choose,
}: {
  readonly user: User
  readonly choose: (act: Act) => void
}): ReactNode {
  const acts: readonly Act[] = [
    disabled ? 'enable' : 'disable',
    role === 'admin' ? 'makeUser' : 'makeAdmin',
    'endAll',
  ]
  return (
    <div className="actions">
      <Link to="/sessions" search={{ person: email }} aria-label={words.sessionsOf(email)}>
        {words.sessions}
      </Link>
      {acts.map((act) => (
        <button
          key={act}
          type="button"
          className="quiet small"
          aria-label={`${words.acts[act].verb}: ${email}`}
          onClick={() => choose(act)}
        >
          {words.acts[act].verb}
        </button>
      ))}
    </div>
  )
}
