/**
 * Takes samples and checks them. If the check fails, it takes them again in twice the rounds: on a busy machine a
 * few slow samples can move a median, while a real difference shows both times.
 */
export async function expectOfSamples<Samples>(
  rounds: number,
  measure: (rounds: number) => Promise<Samples>,
  check: (samples: Samples) => void,
): Promise<void> {
  const first = await measure(rounds)
  try {
    check(first)
  } catch (error) {
    console.warn(`repeated in ${2 * rounds} rounds: ${String(error)}\n${JSON.stringify(first)}`)
    const second = await measure(2 * rounds)
    try {
      check(second)
    } catch (cause) {
      throw new Error(`${String(cause)}\nsamples: ${JSON.stringify(second)}`, { cause })
    }
  }
}
