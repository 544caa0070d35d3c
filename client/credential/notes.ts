/**
 * Small values that tabs share and that outlive the page: attempt ids, noted sign-outs and the id of the session, never
 * tokens. Where the browser forbids storage, they last as long as the page.
 */
export type Notes = {
  get(name: string): string | null
  set(name: string, value: string): void
  remove(name: string): void
}

/** Where notes are kept: `localStorage`, which the tabs of one origin share, or `siteCookies`. */
export type Place = Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>

/**
 * @param owner Separates the notes of one service from those of others.
 * @param place It throws where the browser forbids storage.
 */
export function openNotes(owner: string, place: () => Place): Notes {
  const here = new Map<string, string>()
  const keyOf = (name: string) => `token-ledger ${owner} ${name}`
  return {
    get: (name) => here.get(name) ?? tried(() => place().getItem(keyOf(name))) ?? null,
    set: (name, value) => {
      const isKept = tried(() => {
        place().setItem(keyOf(name), value)
        return place().getItem(keyOf(name)) === value
      })
      if (isKept === true) here.delete(name)
      else here.set(name, value)
    },
    remove: (name) => {
      here.delete(name)
      tried(() => place().removeItem(keyOf(name)))
    },
  }
}

function tried<T>(use: () => T): T | undefined {
  try {
    return use()
  } catch {
    return undefined
  }
}
