import { mutationsOf } from './mutation.ts'

const strings = ['test/config/connection-strings.test.ts']

/** What a start takes from its environment, what it waits for, and what it refuses. */
export const starts = [
  ...mutationsOf('db/connection/string-parameters.ts', strings, [
    [
      'a parameter that is not supported is dropped without a word',
      "if (values === 'none') return 'is not supported; leave it out'",
      "if (values === 'none') return null",
    ],
    [
      'a parameter that is not known is sent to Postgres',
      "  if (values === 'unknown')\n",
      '  if (name === value)\n',
    ],
  ]),
  ...mutationsOf(
    'db/connection/connection-string.ts',
    [...strings, 'test/config/config.test.ts'],
    [
      [
        'the first sslmode counts',
        '    set(decoded(name), value)\n',
        '    if (!found.has(decoded(name))) set(decoded(name), value)\n',
      ],
      [
        'channel_binding=require is dropped',
        "if (parameters.get('channel_binding') === 'require') return 'verify-full'",
        "if (parameters.get('channel_binding') === 'x') return 'verify-full'",
      ],
      [
        'a refusal repeats a part of a password',
        "return /^[a-z_]{1,40}$/i.test(parameter) ? `parameter ${parameter}` : 'last part'",
        'return `parameter ${parameter}`',
      ],
    ],
  ),
  ...mutationsOf('server/config/libpq-variables.ts', strings, [
    [
      'a variable replaces what the string says',
      "if (value === undefined || value === '' || given.has(name)) return []",
      "if (value === undefined || value === '') return []",
    ],
  ]),
  ...mutationsOf(
    'server/config/waiting.ts',
    ['test/config/waiting.test.ts'],
    [
      ['a start that waits says nothing', '        say(`waiting for ${found}`)\n', ''],
      ['a start waits for ever', 'if (waitedMs >= atMostMs) reject', 'if (waitedMs < 0) reject'],
    ],
  ),
  ...mutationsOf(
    'db/limit-counts.ts',
    ['test/db/stale-counts.test.ts'],
    [
      [
        'a count of a clock that was ahead lasts as long as it was',
        'else least(counted.expire, excluded.expire)',
        'else counted.expire',
      ],
    ],
  ),
  ...mutationsOf(
    'server/tokens/access-token.ts',
    ['test/tokens/clocks.test.ts'],
    [
      [
        'a host whose clock is ahead signs tokens of the future',
        'Math.floor(keys.now() / 1000)',
        'Math.floor(Date.now() / 1000)',
      ],
    ],
  ),
  ...mutationsOf(
    'server/verifier/revocations/ended-set.ts',
    ['test/verifier/ended-set.test.ts'],
    [
      [
        'an end of the future is forgotten before its time has come',
        'if (lastEndedAt > forgottenBefore)',
        'if (lastEndedAt > Infinity)',
      ],
    ],
  ),
  ...mutationsOf(
    'server/observability/host-clock.ts',
    ['test/tokens/clocks.test.ts'],
    [['a host whose clock is wrong does not say so', 'Math.abs(ahead) > warnMs', 'ahead > warnMs']],
  ),
  ...mutationsOf(
    'server/config/production.ts',
    ['test/config/config.test.ts', ...strings],
    [
      [
        'PGHOST leads production to a database without TLS',
        "parameters.has('host') && hosts",
        'hosts',
      ],
      [
        'one host on loopback stands for the others',
        'hosts.every(({ name })',
        'hosts.some(({ name })',
      ],
    ],
  ),
]
