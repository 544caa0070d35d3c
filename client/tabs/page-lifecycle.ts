export type WakeReason =
  /** The page is visible or focused again. */
  | 'visible'
  /** The network is back. */
  | 'online'
  /** The page comes from the back/forward cache, where it received no messages of other tabs. */
  | 'restored'

/** Calls `react` when a page that was asleep wakes up: its timers are late, or never fire. */
export function onWake(react: (wake: WakeReason) => void, signal: AbortSignal): void {
  const { document, window } = globalThis
  if (typeof document === 'undefined' || typeof window === 'undefined') return
  const visible = () => document.visibilityState === 'visible' && react('visible')
  document.addEventListener('visibilitychange', visible, { signal })
  window.addEventListener('focus', () => react('visible'), { signal })
  window.addEventListener('online', () => react('online'), { signal })
  window.addEventListener('pageshow', (event) => event.persisted && react('restored'), { signal })
}

/** Waits while the page is prerendered: it may never be shown, and could not take the tab lock. */
export async function untilShown(): Promise<void> {
  const { document }: { document?: Document & { readonly prerendering?: boolean } } = globalThis
  if (document?.prerendering !== true) return
  await new Promise((resolve) =>
    document.addEventListener('prerenderingchange', resolve, { once: true }),
  )
}
