import { Link, useNavigate } from '@tanstack/react-router'
import type { ReactNode } from 'react'
import { Field } from '../../parts/field.tsx'
import { statusWords } from '../../words/session-terms.ts'
import { words } from '../../words/sessions.ts'
import { readSessionSearch, statuses, type SessionSearch } from './search.ts'

/** Changes the address, from which the screen reads what it shows. */
export function SessionFilter({ search }: { readonly search: SessionSearch }): ReactNode {
  const navigate = useNavigate()
  const apply = (form: FormData) => {
    const typed = Object.fromEntries(form.entries())
    const { userId } = search
    void navigate({
      to: '/sessions',
      search: readSessionSearch({ ...typed, ...(userId !== undefined && { userId }) }),
    })
  }
  return (
    <form
      className="card filter"
      role="search"
      aria-label={words.filter}
      onSubmit={(event) => {
        event.preventDefault()
        apply(new FormData(event.currentTarget))
      }}
    >
      <Field label={words.person}>
        {(props) => (
          <input {...props} name="person" type="search" dir="auto" defaultValue={search.person} />
        )}
      </Field>
      <Field label={words.status}>
        {(props) => (
          <select {...props} name="status" defaultValue={search.status ?? ''}>
            <option value="">{words.any}</option>
            {statuses.map((status) => (
              <option key={status} value={status}>
                {statusWords[status]}
              </option>
            ))}
          </select>
        )}
      </Field>
      <Field label={words.network} hint={words.networkHint}>
        {(props) => <input {...props} name="network" type="search" defaultValue={search.network} />}
      </Field>
      <Field label={words.device} hint={words.deviceHint}>
        {(props) => (
          <input {...props} name="device" type="search" dir="auto" defaultValue={search.device} />
        )}
      </Field>
      <div className="actions">
        <button type="submit">{words.apply}</button>
        {Object.keys(search).length > 0 && (
          <Link to="/sessions" search={{}}>
            {words.reset}
          </Link>
        )}
      </div>
      {search.userId !== undefined && <p className="hint">{words.onlyUser}</p>}
    </form>
  )
}
