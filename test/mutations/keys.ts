import { mutationsOf } from './mutation.ts'

const keys = ['test/attack/signing-keys.test.ts']
const copies = ['test/attack/restored-copy.test.ts']

/** Signing keys and restored copies: what the database says is compared with what only the service can know. */
export const keysAndCopies = [
  ...mutationsOf('server/tokens/key-seal.ts', keys, [
    [
      'the seal of a key does not cover its times',
      'JSON.stringify([2, kid, createdAt, signsFromAt])',
      'JSON.stringify([2, kid, createdAt && 0, signsFromAt && 0])',
    ],
  ]),
  ...mutationsOf('server/tokens/open-keys.ts', keys, [
    ['a key may have any kid', 'if (publicJwk.kid !== kid)', 'if (publicJwk.kid === null)'],
    [
      'a key of the old kind lives for as long as its row says',
      'other.coversTimes ? i > place || !key.coversTimes : i > place && !key.coversTimes',
      'i > place',
    ],
  ]),
  ...mutationsOf('db/signing-keys.ts', keys, [
    [
      'a removed key is used when its row comes back',
      '.filter((row) => !row.is_removed)',
      '.filter(() => true)',
    ],
  ]),
  ...mutationsOf('server/tokens/signing-keys.ts', keys, [
    [
      'a process forgets which keys were removed',
      'if (!present.has(kid)) removedKids.add(kid)',
      'if (kid === null) removedKids.add(kid)',
    ],
    ['a skipped key is not reported', '    reports.skipped(key)\n', ''],
    [
      'a process whose keys were deleted makes no new one beside a row that it cannot open',
      'hasUsedKeys ||= keys.length > 0',
      'hasUsedKeys &&= keys.length > 0',
    ],
  ]),
  ...mutationsOf('server/tokens/key-changes.ts', keys, [
    [
      'retired keys are kept for ever',
      '    await deleteSigningKeys(fencedTx, retiredKids(keys, now))\n  })\n',
      '  })\n',
    ],
  ]),
  ...mutationsOf('drizzle/0016_removed_keys_and_incarnations.sql', keys, [
    [
      'SQL: a deleted key is forgotten',
      'insert into token_ledger.signing_key_removal (kid) values (old.kid) on conflict do nothing',
      'perform 1',
    ],
    [
      'SQL: the service may change every column of a key',
      'grant update (sealed_private_key) on',
      'grant update on',
    ],
  ]),
  ...mutationsOf('server/audit/restored-copy.ts', copies, [
    [
      'an older mark is not noticed',
      'return markedAt === null || markedAt < seenAt',
      'return markedAt === null',
    ],
    [
      'a missing mark is not noticed',
      'return markedAt === null || markedAt < seenAt',
      'return markedAt !== null && markedAt < seenAt',
    ],
    [
      'a copy from before the last command is not noticed',
      'return !found.incarnationIds.includes(incarnationId)',
      'return false',
    ],
    [
      'a use from before the command is reported as a copy',
      'return !found.incarnationIds.includes(incarnationId)',
      'return true',
    ],
    [
      'only the process that notices a copy reports it',
      'found.noticedCopyOf ?? (await noticeCopy',
      '(await noticeCopy',
    ],
  ]),
  ...mutationsOf('server/admin/restored.ts', copies, [
    ['a restore keeps the signing keys', 'await replaceSigningKeysIn(tx, secrets)', "''"],
    [
      'a restore ends one batch of sessions',
      'if (after === null) return ended',
      'if (ended.length > 0 || after === null) return ended',
    ],
  ]),
]
