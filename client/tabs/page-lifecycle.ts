export type WakeReason =
  /** The page is visible or focused again. */
  | 'visible'
  /** The network is back. */
  | 'online'
  /** The page comes from the back/forward cache, where it received no messages of other tabs. */
  | 'restored'

/**
 * Calls `react` when a page that was asleep wakes up: its timers are late, or never fire.
 *
 * @returns a function that removes the listeners
 */
export function onWake(react: (wake: WakeReason) => void): () => void {
  const { document, window } = globalThis
  if (typeof document === 'undefined' || typeof window === 'undefined') return () => {}
  const visible = () => document.visibilityState === 'visible' && react('visible')
  const focus = () => react('visible')
  const online = () => react('online')
  const pageshow = (event: PageTransitionEvent) => event.persisted && react('restored')
  document.addEventListener('visibilitychange', visible)
  window.addEventListener('focus', focus)
  window.addEventListener('online', online)
  window.addEventListener('pageshow', pageshow)
  return () => {
    document.removeEventListener('visibilitychange', visible)
    window.removeEventListener('focus', focus)
    window.removeEventListener('online', online)
    window.removeEventListener('pageshow', pageshow)
  }
}

/** Waits while the page is prerendered: it may never be shown, and could not take the tab lock. */
export async function untilShown(): Promise<void> {
  const { document } = globalThis
  if (typeof document === 'undefined' || !('prerendering' in document) || !document.prerendering)
    return
  await new Promise((resolve) =>
    document.addEventListener('prerenderingchange', resolve, { once: true }),
  )
}
