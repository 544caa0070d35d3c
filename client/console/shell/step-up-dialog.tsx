import { useState, type ReactNode } from 'react'
import { Dialog } from '../parts/dialog.tsx'
import { formText } from '../parts/form-text.ts'
import { PasswordField } from '../parts/password-field.tsx'
import { reasonOf } from '../problems.ts'
import { auth } from '../service.ts'
import { useStepUpQuestion, type StepUpQuestion } from '../step-up.ts'
import { problemOf, words } from '../words/common.ts'

/** Asks for the password again when a call needs a recent sign-in. The call goes on by itself afterwards. */
export function StepUp(): ReactNode {
  const question = useStepUpQuestion()
  return question === null ? null : <StepUpDialog question={question} />
}

function StepUpDialog({ question }: { readonly question: StepUpQuestion }): ReactNode {
  const [isRunning, setIsRunning] = useState(false)
  const [problem, setProblem] = useState<string | null>(null)
  const prove = async (form: FormData) => {
    setIsRunning(true)
    setProblem(null)
    try {
      await auth.reauthenticate({ password: formText(form, 'password') })
      question.answer(true)
    } catch (error) {
      const isWrong = reasonOf(error) === 'invalid_credentials'
      setProblem(isWrong ? words.wrongPassword : problemOf(error))
      setIsRunning(false)
    }
  }
  return (
    <Dialog title={words.stepUpTitle} onClose={() => question.answer(false)}>
      <form
        onSubmit={(event) => {
          event.preventDefault()
          void prove(new FormData(event.currentTarget))
        }}
      >
        <PasswordField label={words.yourPassword} hint={words.stepUpHint} name="password" />
        {problem !== null && (
          <p className="state failed" role="alert">
            {problem}
          </p>
        )}
        <div className="actions end">
          <button type="button" className="quiet" onClick={() => question.answer(false)}>
            {words.cancel}
          </button>
          <button type="submit" disabled={isRunning}>
            {words.goOn}
          </button>
        </div>
      </form>
    </Dialog>
  )
}
