export const words = {
  range: 'Range',
  ranges: {
    hour: 'The last hour',
    day: 'The last day',
    week: 'The last week',
    month: 'The last 30 days',
    year: 'The last year',
  },
  activeSessions: 'Active sessions',
  about: (count: string) => `about ${count}`,
  estimated: 'Estimated from a sample of the open sessions',
  incidentsOfWeek: 'Incidents in seven days',
  ofThem: (reuse: string, elsewhere: string) =>
    `${reuse} of a spent token, ${elsewhere} of replays from elsewhere`,
  logBehind: 'The log of hashes is behind by',
  logComplete: 'nothing',
  processes: 'Running processes',
  events: 'Events over time',
  eventsLabel: 'Events over time. The table below has the same numbers.',
  shown: 'Kinds of events in the chart',
  asTable: 'The same numbers as a table',
  noEvents: 'No event in this range.',
  from: 'From',
  kinds: {
    issued: 'Issued',
    rotated: 'Rotated',
    replayed: 'Replayed',
    reuseDetected: 'Reuse',
    revoked: 'Revoked',
  },
  newestIncidents: 'Newest incidents',
  allIncidents: 'All incidents',
  noIncidents: 'There was no incident yet.',
  health: 'Processes of the service',
  noProcesses: 'No process has used this database in the last day.',
  thisOne: '(answers this page)',
  noCheckpointSigned: 'No checkpoint is signed at the moment:',
  process: 'Process',
  state: 'State',
  isUp: 'running',
  isGone: 'not seen lately',
  version: 'Version',
  started: 'Started',
  seen: 'Last seen',
  behind: 'Behind the ends of sessions by',
} as const

/** What an operator should change, by the codes that `/readyz` has too. A code that this page does not know is shown. */
export function warningWords(code: string): string {
  switch (code) {
    case 'database_login_is_superuser':
      return 'The service is connected as a superuser of the database. Give it a login of its own.'
    case 'database_login_owns_ledger':
      return 'The service is connected as the owner of the ledger. Give it a login of its own.'
    case 'host_clock_differs':
      return 'The clock of a host differs from that of the database by more than 30 seconds.'
    case 'checkpoint_refused':
      return 'The log contradicts the newest checkpoint, as a restored copy does.'
    case 'log_key_locked':
      return 'A key of the log does not sign: AUTH_SECRET does not decrypt it, or its row was changed.'
    default:
      return code
  }
}
