import postgres from 'postgres'

/**
 * It is never taken up again once lost: what was told in between would be missing, and nobody would know.
 */
export type Listener = {
  /**
   * One question at a time. An answer proves that the line still hears.
   *
   * @throws when the connection is lost, or was at any time before, and when there is no answer after
   * `timeoutMs`, which closes the line
   */
  query<T>(question: (sql: postgres.Sql) => Promise<T>, timeoutMs: number): Promise<T>
  /** Waits for nothing. */
  close(): void
}

export function openListener(
  databaseUrl: string,
  settings: postgres.Options<Record<string, postgres.PostgresType>>,
  onNotification: (payload: string) => void,
): Listener {
  let isLost = false
  let giveUp: ((error: Error) => void) | null = null
  const lose = () => {
    isLost = true
    giveUp?.(new Error('the connection was lost'))
  }
  const options = {
    ...settings,
    max: 1,
    onclose: lose,
    // What the driver's own `listen` is made of; that one takes up a lost connection without a word.
    onnotify: (_channel: string, payload: string) => onNotification(payload),
  }
  const sql = postgres(databaseUrl, options)
  const close = () => {
    lose()
    sql.end({ timeout: 0 }).catch(() => {})
  }
  return {
    async query(question, timeoutMs) {
      const timer = setTimeout(close, timeoutMs)
      try {
        // The driver may never settle what is under way on a connection that is lost.
        return await new Promise((resolve, reject) => {
          giveUp = reject
          if (isLost) lose()
          else question(sql).then(resolve, reject)
        })
      } finally {
        clearTimeout(timer)
      }
    },
    close,
  }
}
