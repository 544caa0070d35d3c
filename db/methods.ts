/** Methods as statements read them: joined by spaces, which no method contains. */
export function methodsOf(joined: string): string[]
export function methodsOf(joined: string | null): string[] | null
export function methodsOf(joined: string | null): string[] | null {
  return joined === null ? null : joined.split(' ')
}
