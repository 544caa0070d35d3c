import type { inferRouterOutputs } from '@trpc/server'
import type { Session, SignedOut } from '../../../client/index.ts'
import type { AppRouter } from '../../../client/trpc.ts'

export type SessionItem = inferRouterOutputs<AppRouter>['sessions']['list']['items'][number]

/** @throws {Error} when the page has no such element */
export function element<Kind extends Element = HTMLElement>(
  selector: string,
  kind: { new (): Kind } = HTMLElement as unknown as { new (): Kind },
): Kind {
  const found = document.querySelector(selector)
  if (found instanceof kind) return found
  throw new Error(`no ${selector}`)
}

export function showSession(session: Session, refreshes: number): void {
  element('#sign-in').hidden = session.status !== 'signed-out'
  element('#signed-in').hidden = session.status !== 'signed-in'
  element('#status').dataset.status = session.status
  element('#status').textContent = describe(session)
  if (session.status !== 'signed-in') {
    // The next user of the page must not see the data of the previous one.
    for (const id of ['#user', '#family', '#answer', '#sessions']) element(id).replaceChildren()
    return
  }
  element('#user').textContent = `${session.user.email} (${session.user.role})`
  element('#family').textContent = session.familyId
  const seconds = Math.max(0, Math.round((session.accessTokenExpiresAt - Date.now()) / 1000))
  element('#countdown').textContent =
    `expires in ${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`
  element('#refreshes').textContent = `refreshes: ${refreshes}`
}

export function showSessions(
  items: readonly SessionItem[],
  end: (item: SessionItem) => void,
): void {
  const rows = items.map((item) => {
    const button = document.createElement('button')
    button.textContent = 'End this one'
    button.className = 'quiet'
    button.addEventListener('click', () => end(item))
    return rowOf(
      (item.deviceName ?? browserIn(item.userAgent)) + (item.isCurrent ? ' (this one)' : ''),
      new Date(item.createdAt).toLocaleString(),
      item.lastRotatedAt === null ? '–' : new Date(item.lastRotatedAt).toLocaleString(),
      button,
    )
  })
  element('#sessions').replaceChildren(...rows)
}

function rowOf(...cells: (string | Node)[]): HTMLTableRowElement {
  const row = document.createElement('tr')
  for (const cell of cells) row.insertCell().append(cell)
  return row
}

function describe(session: Session): string {
  switch (session.status) {
    case 'unknown':
      return session.problem === null ? 'Asking …' : `Waiting for the server: ${session.problem}`
    case 'signed-in':
      return session.problem === null ? 'Signed in' : `Signed in, reconnecting: ${session.problem}`
    case 'signed-out':
      return farewell(session)
  }
}

function farewell({ reason, incidentId }: SignedOut): string {
  const incident = incidentId === null ? '' : ` Incident ${incidentId}.`
  switch (reason) {
    case 'refresh_token_missing':
      return 'Not signed in'
    case 'logout':
      return 'You signed out.'
    case 'session_expired':
      return `Your session has expired (${reason}).`
    case 'session_revoked':
      return `Your session was ended (${reason}).${incident}`
    case 'refresh_token_reused':
      return `Your session was ended because a copy of its token was used (${reason}).${incident}`
    case 'refresh_token_malformed':
      return `Your session could not be read (${reason}).`
  }
}

function browserIn(userAgent: string | null): string {
  const found = /(Firefox|Edg|Chrome|Safari)\/\d+/.exec(userAgent ?? '')
  return found === null ? (userAgent ?? 'Unknown').slice(0, 40) : found[0].replace('/', ' ')
}
