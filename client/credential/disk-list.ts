import { within } from '../sleep.ts'

const storeName = 'attempts'
/** Some browsers open IndexedDB slowly, or never: the caller goes on without it. */
const maxWaitMs = 1_000

/**
 * Changes a list of texts in IndexedDB and waits until it is on the disk. `localStorage` reaches the disk seconds after
 * a write, and a cookie half a minute after: both are lost when the browser is killed before.
 *
 * @returns the changed list; null where there is no IndexedDB, or it does not answer
 */
export async function keepOnDisk(
  key: string,
  change: (stored: readonly string[]) => string[],
): Promise<string[] | null> {
  return within(
    maxWaitMs,
    changed(key, change).catch(() => null),
  )
}

async function changed(
  key: string,
  change: (stored: readonly string[]) => string[],
): Promise<string[]> {
  const opening = indexedDB.open('token-ledger', 1)
  opening.addEventListener('upgradeneeded', () => opening.result.createObjectStore(storeName))
  const database = await resultOf(opening)
  // Opened each time: an open database can keep a page out of the back/forward cache.
  try {
    const transaction = database.transaction(storeName, 'readwrite', { durability: 'strict' })
    const store = transaction.objectStore(storeName)
    const stored: unknown = await resultOf(store.get(key))
    const next = change(Array.isArray(stored) ? stored.filter((id) => typeof id === 'string') : [])
    store.put(next, key)
    await new Promise<void>((resolve, reject) => {
      transaction.addEventListener('complete', () => resolve())
      transaction.addEventListener('abort', () => reject(transaction.error))
    })
    return next
  } finally {
    database.close()
  }
}

function resultOf<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.addEventListener('success', () => resolve(request.result))
    request.addEventListener('error', () => reject(request.error))
  })
}
