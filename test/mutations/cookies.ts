import { mutationsOf } from './mutation.ts'

/** Cookies that another host of the site sets, and settings that would open the service to others. */
export const cookies = [
  ...mutationsOf(
    'server/procedures/presented-token.ts',
    ['test/attack/cookies.test.ts'],
    [
      [
        'a forged cookie beside the own one counts',
        '    if (token === null) continue\n',
        "    if (token === null) return { transport: 'cookie', isAny: true, tokens: [] }\n",
      ],
      [
        'the first of two sessions is taken',
        'if (token !== undefined && more.length === 0)',
        'if (token !== undefined)',
      ],
      [
        'another session than the expected one is continued',
        'expected === undefined ? tokens : tokens.filter(({ familyId }) => familyId === expected)',
        'tokens',
      ],
    ],
  ),
  ...mutationsOf(
    'server/sessions/sign-out.ts',
    ['test/attack/cookies.test.ts'],
    [
      [
        'a token of the body in a second cookie refuses the sign-out',
        '        if (!request.isOnly) return 0\n',
        '',
      ],
    ],
  ),
  ...mutationsOf(
    'server/http/refresh-cookie.ts',
    ['test/attack/cookies.test.ts'],
    [
      [
        'on http a cookie of the former name counts beside the own one',
        'return own.length > 0 || config.isSecure ? own : valuesOf(pairs, formerName)',
        'return [...own, ...valuesOf(pairs, formerName)]',
      ],
      [
        'on http all ports share one name',
        'name: `${port}-refresh_token`',
        'name: `${port === null}${formerName}`.slice(5)',
      ],
      ['cookies of other hosts stay', "if (sent.mayBeForeign && path !== '/') clearForeign()", ''],
      ['a __Host- cookie is sent for one path', "path: '/' }\n    :", "path: '/auth' }\n    :"],
    ],
  ),
  ...mutationsOf(
    'server/http/origin.ts',
    ['test/http/origin-rules.test.ts'],
    [
      [
        'pages of localhost may sign in in production',
        'return !config.isProduction && loopbackOrigin.test(origin)',
        'return loopbackOrigin.test(origin)',
      ],
    ],
  ),
  ...mutationsOf(
    'client/credential/attempts.ts',
    ['test/browser/killed.test.ts'],
    [
      [
        'the attempts are not on the disk before the request',
        'const onDisk = await keepOnDisk(owner, (stored) => add([...stored, ...noted]))',
        'const onDisk = null as string[] | null',
      ],
    ],
  ),
  ...mutationsOf(
    'client/credential/open.ts',
    ['test/browser/site.test.ts'],
    [['apps of one site keep the notes for themselves', 'siteCookies(site))', 'localStorage)']],
  ),
  ...mutationsOf(
    'client/credential/may-drop-cookie.ts',
    ['test/browser/localhost.test.ts'],
    [
      [
        'a page of another host does not ask whether its cookie is there',
        'return isOtherHost || window.top',
        'return window.top',
      ],
    ],
  ),
  ...mutationsOf(
    'client/credential/own-session.ts',
    ['test/client/own-session.test.ts'],
    [
      [
        'a page refreshes a session that it did not begin',
        "      if (familyId === null && adopts === false) throw new AuthClientError('refresh_token_missing')\n",
        '',
      ],
    ],
  ),
  ...mutationsOf(
    'server/http/routes/metrics.ts',
    ['test/observability/metrics.test.ts'],
    [
      [
        'a proxy that adds no header opens /metrics',
        'metricsPort === undefined && isLoopback(new URL(publicUrl).hostname)',
        'true',
      ],
      [
        'a rebound host name reads METRICS_PORT',
        '    if (!isLoopback(hostname)) return reply.callNotFound()\n',
        '',
      ],
    ],
  ),
  ...mutationsOf(
    'server/config/production.ts',
    ['test/config/config.test.ts'],
    [
      [
        'an exposed service is in development',
        "return !isLoopback(env.HOST) || (protocol === 'https:' && !isLoopback(hostname))",
        'return false',
      ],
      [
        'a database beyond loopback needs no certificate',
        "parameters.has('host') && hosts.every",
        'true || hosts.every',
      ],
      [
        'a page over http is allowed in production',
        'env.ALLOWED_ORIGINS?.some(isPlainHttp)',
        'false',
      ],
      ['a secret is used twice', 'if (seen.has(value))', 'if (false)'],
    ],
  ),
  ...mutationsOf(
    'server/config/values.ts',
    ['test/config/config.test.ts'],
    [['every caller is a trusted proxy', '!list.some(isMostOfTheInternet)', 'true']],
  ),
  ...mutationsOf(
    'server/main.ts',
    ['test/admin/first-admin.test.ts'],
    [
      [
        'the port opens before there is an admin',
        '  await startWithDatabase(urls.service, () =>\n    ensureAdmin({ ...config, hasConsole: hasConsole(app) }, database, log),\n  )\n',
        '  setTimeout(() => void ensureAdmin(config, database, log), 500)\n',
      ],
    ],
  ),
  ...mutationsOf(
    'server/embedded-postgres/client.ts',
    ['test/embedded-postgres/embedded-postgres.test.ts'],
    [['the embedded Postgres trusts its socket', '    expectPassword(files.cluster)\n', '']],
  ),
]
