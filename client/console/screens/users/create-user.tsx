import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useState, type ReactNode } from 'react'
import type { Outputs } from '../../outputs.ts'
import { askAgain } from '../../parts/ask-again.ts'
import { Id } from '../../parts/copy.tsx'
import { Dialog } from '../../parts/dialog.tsx'
import { Field } from '../../parts/field.tsx'
import { formText } from '../../parts/form-text.ts'
import { Failed } from '../../parts/states.tsx'
import { trpc } from '../../service.ts'
import { words as common } from '../../words/common.ts'
import { words } from '../../words/users.ts'

type Created = Outputs['admin']['users']['create']

/** A button, and the dialog that it opens. */
export function CreateUser(): ReactNode {
  const [isOpen, setIsOpen] = useState(false)
  return (
    <>
      <button type="button" onClick={() => setIsOpen(true)}>
        {words.create}
      </button>
      {isOpen && <CreateDialog onClose={() => setIsOpen(false)} />}
    </>
  )
}

function CreateDialog({ onClose }: { readonly onClose: () => void }): ReactNode {
  const queryClient = useQueryClient()
  const create = useMutation({
    mutationFn: (form: FormData) => {
      const password = formText(form, 'password')
      return trpc.admin.users.create.mutate({
        email: formText(form, 'email'),
        role: formText(form, 'role') === 'admin' ? 'admin' : 'user',
        ...(password !== '' && { password }),
      })
    },
    // The answer may hold a password: it is forgotten with the dialog.
    gcTime: 0,
    onSuccess: () => askAgain(queryClient, ['admin', 'users']),
  })
  return (
    <Dialog title={words.create} onClose={onClose}>
      {create.data === undefined ? (
        <form
          onSubmit={(event) => {
            event.preventDefault()
            create.mutate(new FormData(event.currentTarget))
          }}
        >
          <Inputs />
          {create.error !== null && <Failed error={create.error} />}
          <div className="actions end">
            <button type="button" className="quiet" onClick={onClose}>
              {common.cancel}
            </button>
            <button type="submit" disabled={create.isPending}>
              {words.createVerb}
            </button>
          </div>
        </form>
      ) : (
        <CreatedUser created={create.data} onClose={onClose} />
      )}
    </Dialog>
  )
}

function Inputs(): ReactNode {
  return (
    <>
      <Field label={words.email}>
        {(props) => <input {...props} name="email" type="email" autoComplete="off" required />}
      </Field>
      <Field label={words.role}>
        {(props) => (
          <select {...props} name="role">
            <option value="user">{words.roles.user}</option>
            <option value="admin">{words.roles.admin}</option>
          </select>
        )}
      </Field>
      <Field label={words.password} hint={words.passwordHint}>
        {(props) => (
          <input {...props} name="password" type="password" autoComplete="new-password" />
        )}
      </Field>
    </>
  )
}

function CreatedUser({
  created: { user, password },
  onClose,
}: {
  readonly created: Created
  readonly onClose: () => void
}): ReactNode {
  return (
    <div role="status">
      <p>{words.createdNow(user.email)}</p>
      {password !== null && (
        <p>
          {words.passwordOnce} <Id id={password} what={words.password} />
        </p>
      )}
      <div className="actions end">
        <button type="button" onClick={onClose}>
          {common.close}
        </button>
      </div>
    </div>
  )
}
