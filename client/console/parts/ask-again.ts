import type { QueryClient, QueryKey } from '@tanstack/react-query'

/**
 * Asks all questions again whose keys begin so; all of them without a key. A first answer on its way may be from before
 * the change, and would count as the new one: `invalidateQueries` alone does not end that call.
 */
export async function askAgain(client: QueryClient, queryKey: QueryKey = []): Promise<void> {
  await client.cancelQueries({ queryKey })
  await client.invalidateQueries({ queryKey })
}
