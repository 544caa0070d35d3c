/** One rule broken in one place: the tests named must go red. */
export type Mutation = {
  /** What the broken service does, as a sentence. */
  readonly name: string
  readonly file: string
  /** Text that stands exactly once in the file. */
  readonly find: string
  readonly replace: string
  /** Test files, of which one at least must fail. */
  readonly tests: readonly string[]
}

/** Mutations of one file, all watched by the same tests. */
export function mutationsOf(
  file: string,
  tests: readonly string[],
  list: readonly (readonly [name: string, find: string, replace: string])[],
): Mutation[] {
  return list.map(([name, find, replace]) => ({ name, file, find, replace, tests }))
}
