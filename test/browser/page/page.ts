import { createTRPCClient } from '@trpc/client'
import { AuthClientError, createAuthClient, type Session } from '../../../client/index.ts'
import { authLink, type AppRouter } from '../../../client/trpc.ts'
import { element, showSession, showSessions, type SessionItem } from './view.ts'

const auth = createAuthClient()
const trpc = createTRPCClient<AppRouter>({ links: [authLink(auth)] })

let shown: Session = auth.session
let refreshes = 0

auth.subscribe((session) => {
  const isNew = familyOf(session) !== null && familyOf(session) !== familyOf(shown)
  if (isNew) refreshes = 0
  else if (tokenEndOf(session) !== tokenEndOf(shown)) refreshes += 1
  shown = session
  showSession(session, refreshes)
  if (isNew) attempt(listSessions)
})
setInterval(() => showSession(auth.session, refreshes), 1_000)

element('#sign-in', HTMLFormElement).addEventListener('submit', (event) => {
  event.preventDefault()
  const form = element('#sign-in', HTMLFormElement)
  const entered = new FormData(form, event.submitter)
  const credentials = { email: text(entered, 'email'), password: text(entered, 'password') }
  attempt(async () => {
    await (text(entered, 'intent') === 'register'
      ? auth.register(credentials)
      : auth.login(credentials))
    form.reset()
  })
})

onClick('#call', async () => {
  const me = await trpc.me.query()
  element('#answer').textContent = JSON.stringify(me, null, 2)
})
onClick('#refresh', () => auth.refresh())
onClick('#sign-out', () => auth.logout())
onClick('#sign-out-everywhere', () => auth.logout({ everywhere: true }))

attempt(() => auth.restore())

async function listSessions(): Promise<void> {
  const { items } = await trpc.sessions.list.query()
  showSessions(items, (item) => attempt(() => endSession(item)))
}

async function endSession(item: SessionItem): Promise<void> {
  await trpc.sessions.revoke.mutate({ familyId: item.familyId })
  // After ending this session, a refresh shows it at once.
  await (item.isCurrent ? auth.refresh() : listSessions())
}

function familyOf(session: Session): string | null {
  return session.status === 'signed-in' ? session.familyId : null
}

function tokenEndOf(session: Session): number | null {
  return session.status === 'signed-in' ? session.accessTokenExpiresAt : null
}

function onClick(selector: string, act: () => Promise<unknown>): void {
  element(selector).addEventListener('click', () => attempt(act))
}

/** Runs `act` and shows its error, unless the session ended: then the session's status says why. */
function attempt(act: () => Promise<unknown>): void {
  element('#problem').hidden = true
  act().catch((error: unknown) => {
    if (auth.session.status === 'signed-out' && isEnd(error)) return
    element('#problem').hidden = false
    element('#problem').textContent = error instanceof Error ? error.message : 'Failed.'
  })
}

function isEnd(error: unknown): boolean {
  return !(error instanceof AuthClientError) || /^(session|refresh_token)_/.test(error.reason)
}

function text(form: FormData, name: string): string {
  const value = form.get(name)
  return typeof value === 'string' ? value : ''
}
