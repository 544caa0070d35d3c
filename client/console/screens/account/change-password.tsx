import { useState, type ReactNode } from 'react'
import { reasonOf } from '../../problems.ts'
import { askAgain } from '../../parts/ask-again.ts'
import { formText } from '../../parts/form-text.ts'
import { PasswordField } from '../../parts/password-field.tsx'
import { Section } from '../../parts/screen.tsx'
import { Done } from '../../parts/states.tsx'
import { queryClient, trpc } from '../../service.ts'
import { words } from '../../words/account.ts'
import { problemOf } from '../../words/common.ts'

export function ChangePassword(): ReactNode {
  const [isRunning, setIsRunning] = useState(false)
  const [outcome, setOutcome] = useState<{ isDone: boolean; text: string } | null>(null)
  const change = async (form: HTMLFormElement) => {
    const typed = new FormData(form)
    const newPassword = formText(typed, 'next')
    if (newPassword !== formText(typed, 'repeat'))
      return setOutcome({ isDone: false, text: words.differs })
    setIsRunning(true)
    setOutcome(null)
    try {
      const currentPassword = formText(typed, 'current')
      await trpc.account.changePassword.mutate({ currentPassword, newPassword })
      form.reset()
      setOutcome({ isDone: true, text: words.changed })
      await askAgain(queryClient)
    } catch (error) {
      const isWrong = reasonOf(error) === 'invalid_credentials'
      setOutcome({ isDone: false, text: isWrong ? words.wrongPassword : problemOf(error) })
    } finally {
      setIsRunning(false)
    }
  }
  return (
    <Section title={words.password}>
      <form
        className="stack"
        onSubmit={(event) => {
          event.preventDefault()
          void change(event.currentTarget)
        }}
      >
        <p className="faint">{words.passwordText}</p>
        <PasswordField label={words.current} name="current" />
        <PasswordField label={words.next} name="next" kind="new-password" />
        <PasswordField label={words.repeat} name="repeat" kind="new-password" />
        {outcome !== null &&
          (outcome.isDone ? (
            <Done>{outcome.text}</Done>
          ) : (
            <p className="state failed" role="alert">
              {outcome.text}
            </p>
          ))}
        <button type="submit" disabled={isRunning}>
          {isRunning ? words.changing : words.change}
        </button>
      </form>
    </Section>
  )
}
