import type postgres from 'postgres'

/**
 * A connection that receives notifications (LISTEN). It does not reconnect: notifications sent in between
 * would be lost unnoticed. After a loss, open a new one and read the state again.
 */
export type Listener = {
  /**
   * Runs one query; the caller runs one at a time. A result proves that the connection still receives
   * notifications.
   *
   * @throws when the connection is or was lost, and without a result after `timeoutMs`, which closes it
   */
  query<T>(run: (sql: postgres.Sql) => Promise<T>, timeoutMs: number): Promise<T>
  /** Returns at once; a query in progress rejects. */
  close(): void
}

export function openListener(
  open: (onnotify: (channel: string, payload: string) => void, onLost: () => void) => postgres.Sql,
  onNotification: (payload: string) => void,
): Listener {
  let isLost = false
  let rejectQuery: ((error: Error) => void) | null = null
  const lose = () => {
    isLost = true
    rejectQuery?.(new Error('the connection was lost'))
  }
  // The driver's own `listen` is built on this, but reconnects without telling its caller.
  const sql = open((_channel, payload) => onNotification(payload), lose)
  const close = () => {
    lose()
    sql.end({ timeout: 0 }).catch(() => {})
  }
  return {
    async query(run, timeoutMs) {
      const timer = setTimeout(close, timeoutMs)
      try {
        // The driver may never settle a query whose connection is lost.
        return await new Promise((resolve, reject) => {
          rejectQuery = reject
          if (isLost) lose()
          else run(sql).then(resolve, reject)
        })
      } finally {
        clearTimeout(timer)
      }
    },
    close,
  }
}
