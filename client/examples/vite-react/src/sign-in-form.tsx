import type { AuthClientError } from '@token-ledger/client'
import { useAuth, useSession } from '@token-ledger/client/react'
import { useActionState } from 'react'

export function SignInForm() {
  const auth = useAuth()
  const session = useSession()
  const incidentId = session.status === 'signed-out' ? session.incidentId : null

  const [problem, signIn, isPending] = useActionState(async (_: unknown, form: FormData) => {
    const [email, password] = [String(form.get('email')), String(form.get('password'))]
    return auth.login({ email, password }).then(
      () => null,
      (error: AuthClientError) => error.message,
    )
  }, null)

  return (
    <form action={signIn}>
      {incidentId !== null && <p>Your session was ended. Support finds it by {incidentId}.</p>}
      <input name="email" type="email" autoComplete="username" placeholder="E-mail" required />
      <input name="password" type="password" autoComplete="current-password" required />
      <button disabled={isPending}>Sign in</button>
      {problem !== null && <p role="alert">{problem}</p>}
    </form>
  )
}
