import { mutationsOf } from './mutation.ts'

const tampering = ['test/evidence/tampering.test.ts']
const log = ['test/evidence/log.test.ts']

/** What outsiders rely on: the log has every row once, and a checkpoint is signed only where it continues the last. */
export const evidence = [
  ...mutationsOf('db/evidence/check.ts', tampering, [
    [
      'rows without a leaf are looked for on the first page only',
      '} while (page.length === pageSize && missing.length < limit)',
      '} while (false)',
    ],
  ]),
  ...mutationsOf('server/evidence/verify-log.ts', tampering, [
    [
      'an event that is gone is taken for an archived one',
      'if (contentHash === null && familyId !== null && isArchived(familyId)) return null',
      'if (contentHash === null && familyId !== null) return null',
    ],
    [
      'a leaf that is missing at the end of the log is not noticed',
      'if (tree.size < checkpoint.size)',
      'if (tree.size < 0)',
    ],
    [
      'an event that was added without a leaf is not noticed',
      'for (const row of await readRowsWithoutLeaf(database, maxProblems))',
      'for (const row of [] as LoggedRow[])',
    ],
    [
      'the root is not compared with the checkpoint',
      'signed.set(checkpoint.size, checkpoint.root)',
      '',
    ],
  ]),
  ...mutationsOf(
    'server/evidence/sign-checkpoints.ts',
    ['test/evidence/checkpoints.test.ts'],
    [
      [
        'a checkpoint is signed that is smaller than an earlier one',
        '    before.size > size\n',
        '    before.size < 0\n',
      ],
      [
        'a checkpoint is signed that does not continue an earlier one',
        '.equals(before.root)\n',
        '.equals(before.root) || true\n',
      ],
    ],
  ),
  ...mutationsOf(
    'server/evidence/sign-checkpoints.ts',
    ['test/evidence/keys.test.ts'],
    [
      [
        'a checkpoint of before a key was added keeps its lines',
        'stored?.size === size && isSignedByAll(stored.note, keys)',
        'stored?.size === size',
      ],
      [
        'the first checkpoint after the loss of a key continues nothing',
        '[last, stored, newest]',
        '[last, stored]',
      ],
      [
        'an added key of the log does not sign',
        'return [privateKey, ...addedKeys].map(',
        'return [privateKey].map(',
      ],
    ],
  ),
  ...mutationsOf(
    'server/evidence/witness.ts',
    ['test/evidence/witness.test.ts'],
    [
      [
        'a cosignature of another text is published',
        'return verify(null, Buffer.from(signed), key.publicKey, bytes.subarray(8))',
        'return true',
      ],
      [
        'a witness that failed is asked again at once',
        'if (failure !== null && performance.now() < failure.until) throw failure.error',
        '',
      ],
    ],
  ),
  ...mutationsOf('server/evidence/publish.ts', log, [
    [
      'a log is published over another one',
      'if (published !== null) await assertContinues(database, checkpoint, published)',
      '',
    ],
  ]),
  ...mutationsOf('drizzle/0026_ledger_log.sql', log, [
    [
      'SQL: a row of a running transaction is passed over',
      `      and (e.txid < pg_snapshot_xmin(pg_current_snapshot()) or e.txid >= unreached)
      and logged.is_logged is null
`,
      '      and logged.is_logged is null\n',
    ],
    [
      'SQL: rows of a restored dump are never taken in',
      '    unreached := pg_snapshot_xmax(pg_current_snapshot());\n',
      '    unreached := null;\n',
    ],
    [
      'SQL: an admin action does not continue the one before',
      '  new.prev_hash := last.hash;\n',
      '  new.prev_hash := null;\n',
    ],
  ]),
  ...mutationsOf(
    'drizzle/0033_log_by_index.sql',
    ['test/audit/plans.test.ts'],
    [
      [
        'each batch of the log sorts everything that waits',
        'alter function token_ledger.append_leaves() set enable_sort = off;',
        'select 1;',
      ],
    ],
  ),
]
