import {
  createRootRoute,
  createRoute,
  createRouter,
  lazyRouteComponent,
} from '@tanstack/react-router'
import { readSessionSearch } from './screens/sessions/search.ts'
import { AdminsOnly, Broken, Home, NotFound, Pending } from './shell/pages.tsx'
import { Shell } from './shell/shell.tsx'

const root = createRootRoute({ component: Shell, notFoundComponent: NotFound })

const home = createRoute({ getParentRoute: () => root, path: '/', component: Home })

const account = createRoute({
  getParentRoute: () => root,
  path: '/account',
  component: lazyRouteComponent(() => import('./screens/account/account.tsx'), 'Account'),
})

const admins = createRoute({ getParentRoute: () => root, id: 'admins', component: AdminsOnly })

// Each screen is a script of its own, which is loaded when it is opened.
const overview = createRoute({
  getParentRoute: () => admins,
  path: '/overview',
  component: lazyRouteComponent(() => import('./screens/overview/overview.tsx'), 'Overview'),
})
const sessions = createRoute({
  getParentRoute: () => admins,
  path: '/sessions',
  validateSearch: readSessionSearch,
  component: lazyRouteComponent(() => import('./screens/sessions/sessions.tsx'), 'Sessions'),
})
const session = createRoute({
  getParentRoute: () => admins,
  path: '/sessions/$familyId',
  component: lazyRouteComponent(() => import('./screens/session/session.tsx'), 'Session'),
})
const incidents = createRoute({
  getParentRoute: () => admins,
  path: '/incidents',
  component: lazyRouteComponent(() => import('./screens/incidents/incidents.tsx'), 'Incidents'),
})
const users = createRoute({
  getParentRoute: () => admins,
  path: '/users',
  component: lazyRouteComponent(() => import('./screens/users/users.tsx'), 'Users'),
})
const ledger = createRoute({
  getParentRoute: () => admins,
  path: '/ledger',
  component: lazyRouteComponent(() => import('./screens/ledger/ledger.tsx'), 'Ledger'),
})
const ledgerSearch = createRoute({
  getParentRoute: () => admins,
  path: '/ledger/search',
  component: lazyRouteComponent(() => import('./screens/ledger/search.tsx'), 'LedgerSearch'),
})
const ledgerProof = createRoute({
  getParentRoute: () => admins,
  path: '/ledger/proof',
  component: lazyRouteComponent(() => import('./screens/ledger/proof.tsx'), 'LedgerProof'),
})
const ledgerActs = createRoute({
  getParentRoute: () => admins,
  path: '/ledger/admins',
  component: lazyRouteComponent(() => import('./screens/ledger/acts.tsx'), 'LedgerActs'),
})

const screens = admins.addChildren([
  overview,
  sessions,
  session,
  incidents,
  users,
  ledger,
  ledgerSearch,
  ledgerProof,
  ledgerActs,
])

export const router = createRouter({
  routeTree: root.addChildren([home, account, screens]),
  basepath: '/console',
  defaultPreload: 'intent',
  defaultPendingComponent: Pending,
  defaultErrorComponent: Broken,
})

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router
  }
}
