/** One rule, broken in one place: one of the named tests must fail. */
export type Mutation = {
  /** What the broken service does, as a sentence. */
  readonly name: string
  readonly file: string
  /** A text that occurs exactly once in the file. */
  readonly find: string
  readonly replace: string
  /** Test files, at least one of which must fail. */
  readonly tests: readonly string[]
}

/** Mutations of one file, all found by the same tests. */
export function mutationsOf(
  file: string,
  tests: readonly string[],
  list: readonly (readonly [name: string, find: string, replace: string])[],
): Mutation[] {
  return list.map(([name, find, replace]) => ({ name, file, find, replace, tests }))
}
