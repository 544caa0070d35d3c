import { useState, type ReactNode } from 'react'
import type { SignedOut } from '../../../index.ts'
import { useAuth } from '../../../react/index.ts'
import { Id } from '../../parts/copy.tsx'
import { Field } from '../../parts/field.tsx'
import { formText } from '../../parts/form-text.ts'
import { PasswordField } from '../../parts/password-field.tsx'
import { Failed } from '../../parts/states.tsx'
import { words as common } from '../../words/common.ts'
import { farewellWords, words } from '../../words/sign-in.ts'

/** The form, and why the session before it ended. */
export function SignIn({ session }: { readonly session: SignedOut }): ReactNode {
  const auth = useAuth()
  const [isRunning, setIsRunning] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const signIn = async (form: FormData) => {
    setIsRunning(true)
    setError(null)
    try {
      await auth.login({ email: formText(form, 'email'), password: formText(form, 'password') })
    } catch (failure) {
      setError(failure)
      setIsRunning(false)
    }
  }
  return (
    <main className="alone">
      <title>{`${words.title} · ${common.product}`}</title>
      <p className="brand">{common.product}</p>
      <Farewell session={session} />
      <form
        className="card"
        onSubmit={(event) => {
          event.preventDefault()
          void signIn(new FormData(event.currentTarget))
        }}
      >
        <h1>{words.title}</h1>
        <Field label={words.email}>
          {(props) => (
            <input {...props} name="email" type="email" autoComplete="username" required />
          )}
        </Field>
        <PasswordField label={words.password} name="password" />
        {error !== null && <Failed error={error} />}
        <button type="submit" className="wide" disabled={isRunning}>
          {isRunning ? words.submitting : words.submit}
        </button>
      </form>
    </main>
  )
}

function Farewell({ session: { reason, incidentId } }: { readonly session: SignedOut }): ReactNode {
  const text = farewellWords(reason)
  if (text === null) return null
  return (
    <div className="notice" role="status">
      <p>{text}</p>
      {incidentId !== null && (
        <>
          <p>
            {words.incident} <Id id={incidentId} what={words.incident} />
          </p>
          <p className="hint">{words.incidentHint}</p>
        </>
      )}
    </div>
  )
}
