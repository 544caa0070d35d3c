import { useState, type ReactNode } from 'react'
import { words } from '../words/common.ts'
import { Dialog } from './dialog.tsx'
import { Field } from './field.tsx'
import { formText } from './form-text.ts'
import { Failed } from './states.tsx'

/** The service takes no longer ones. */
const maxReasonLength = 500

/**
 * Asks before something is done that cannot be undone. It stays open until `act` has succeeded, and shows why it failed.
 *
 * @param needsReason asks for a reason, which `act` gets
 */
export function Confirm({
  title,
  verb,
  needsReason = false,
  act,
  onClose,
  children,
}: {
  readonly title: string
  /** On the button: "End the session". */
  readonly verb: string
  readonly needsReason?: boolean
  readonly act: (reason: string) => Promise<unknown>
  readonly onClose: () => void
  readonly children?: ReactNode
}): ReactNode {
  const [isRunning, setIsRunning] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const run = async (form: FormData) => {
    setIsRunning(true)
    setError(null)
    try {
      await act(formText(form, 'reason'))
      onClose()
    } catch (failure) {
      setError(failure)
    } finally {
      setIsRunning(false)
    }
  }
  return (
    <Dialog title={title} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault()
          void run(new FormData(event.currentTarget))
        }}
      >
        {children}
        {needsReason && (
          <Field label={words.reason} hint={words.reasonHint}>
            {(props) => <input {...props} name="reason" required maxLength={maxReasonLength} />}
          </Field>
        )}
        {error !== null && <Failed error={error} />}
        <div className="actions end">
          <button type="button" className="quiet" onClick={onClose}>
            {words.cancel}
          </button>
          <button type="submit" className="danger" disabled={isRunning}>
            {verb}
          </button>
        </div>
      </form>
    </Dialog>
  )
}
