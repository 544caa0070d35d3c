/**
 * Small values that tabs share and that outlive the page: attempt ids, noted sign-outs and
 * the id of the session, never tokens. Where
 * the browser forbids storage, they last as long as the page.
 */
export type Notes = {
  get(name: string): string | null
  set(name: string, value: string): void
  remove(name: string): void
}

/** @param owner Separates the notes of one service from those of others. */
export function openNotes(owner: string): Notes {
  const here = new Map<string, string>()
  const keyOf = (name: string) => `token-ledger ${owner} ${name}`
  return {
    get: (name) =>
      here.get(name) ??
      tryStored(
        (storage) => storage.getItem(keyOf(name)),
        () => null,
      ),
    set: (name, value) =>
      tryStored(
        (storage) => storage.setItem(keyOf(name), value),
        () => void here.set(name, value),
      ),
    remove: (name) => {
      here.delete(name)
      tryStored(
        (storage) => storage.removeItem(keyOf(name)),
        () => {},
      )
    },
  }
}

function tryStored<T>(use: (storage: Storage) => T, otherwise: () => T): T {
  try {
    return typeof localStorage === 'undefined' ? otherwise() : use(localStorage)
  } catch {
    return otherwise()
  }
}

/** RFC 9562 version 4; `crypto.randomUUID` is missing on pages without https. */
export function newAttemptId(): string {
  if (typeof crypto.randomUUID === 'function') return crypto.randomUUID()
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  const hex = Array.from(bytes, (byte, index) => {
    const marked = index === 6 ? (byte & 0x0f) | 0x40 : index === 8 ? (byte & 0x3f) | 0x80 : byte
    return marked.toString(16).padStart(2, '0')
  }).join('')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
