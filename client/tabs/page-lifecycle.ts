export type WakeReason =
  /** The page is looked at again. */
  | 'visible'
  /** The network is back. */
  | 'online'
  /** The page comes from the back/forward cache: it heard nothing in the meantime. */
  | 'restored'

/** Timers of a page that slept come late or not at all; these come. @returns to be called at the end */
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
