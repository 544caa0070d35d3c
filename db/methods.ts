/** Methods as statements read them: joined by spaces, which no method contains. */
export function methodsOf(joined: string): readonly string[]
export function methodsOf(joined: string | null): readonly string[] | null
export function methodsOf(joined: string | null): readonly string[] | null {
  return joined === null ? null : joined.split(' ')
}
