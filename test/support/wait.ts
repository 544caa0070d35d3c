import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Resolves with the result of `look` once it is neither undefined nor false. A test waits for a state in this way,
 * never for a time to pass.
 *
 * @param what completes the sentence "waited in vain until …"
 */
export async function waitFor<T>(
  look: () => T | undefined | false | Promise<T | undefined | false>,
  what = look.toString(),
  withinMs = 20_000,
): Promise<T> {
  const deadlineAt = performance.now() + withinMs
  for (;;) {
    const found = await look()
    if (found !== undefined && found !== false) return found
    if (performance.now() > deadlineAt) throw new Error(`waited in vain until ${what}`)
    await sleep(20)
  }
}
