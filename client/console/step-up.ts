import { useSyncExternalStore } from 'react'

/** A call waits for a more recent authentication: answer whether it may be repeated. */
export type StepUpQuestion = { readonly answer: (hasProved: boolean) => void }

let question: StepUpQuestion | null = null
const listeners = new Set<() => void>()

/** Opens the dialog that asks for the password again. Resolves with whether the user has entered it. */
export function askForPasswordAgain(): Promise<boolean> {
  return new Promise((resolve) => {
    const asked: StepUpQuestion = {
      answer(hasProved) {
        if (question === asked) ask(null)
        resolve(hasProved)
      },
    }
    ask(asked)
  })
}

/** For a session that ended: the call that waits is not repeated. */
export function closeQuestion(): void {
  question?.answer(false)
}

export function useStepUpQuestion(): StepUpQuestion | null {
  return useSyncExternalStore(subscribe, () => question)
}

function ask(next: StepUpQuestion | null): void {
  question = next
  for (const listener of listeners) listener()
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  return () => void listeners.delete(listener)
}
