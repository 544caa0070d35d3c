import { mutationsOf } from './mutation.ts'

const screens = ['test/admin/console.test.ts']
const longReads = ['test/admin/long-reads.test.ts']
const hours = ['test/audit/event-hours.test.ts']

/** What the screens of admins and of people read. */
export const screenRules = [
  ...mutationsOf('db/audit/own-events.ts', screens, [
    [
      'own events tell the address of an admin',
      'case when e.is_own then host(e.ip) end as ip',
      'host(e.ip) as ip',
    ],
    [
      'own events are those of everyone',
      'where user_id = ${userId}::uuid\n      order by family_id desc',
      'order by family_id desc',
    ],
  ]),
  ...mutationsOf('server/admin/sessions.ts', screens, [
    [
      'of several sessions that are ended, none has a record',
      'for (const { familyId, userId } of ended)',
      'for (const { familyId, userId } of ended.slice(ended.length))',
    ],
  ]),
  ...mutationsOf('server/audit/long-reads.ts', longReads, [
    ['verifications and exports run beside each other', 'if (isTaken)', 'if (isTaken && false)'],
  ]),
  ...mutationsOf('server/audit/ledger-check.ts', longReads, [
    [
      'a demoted admin gets the result of a verification',
      'const result = await check.result\n    await stillMay?.()',
      'const result = await check.result',
    ],
  ]),
  ...mutationsOf('server/procedures/admin/export.ts', longReads, [
    ['every user exports the ledger', 'await call.bearer.mustBeAdmin()\n', '\n'],
    [
      'an export goes on when its access token has expired',
      'mustStill().catch((error: unknown) => refused.abort(error))',
      '',
    ],
  ]),
  ...mutationsOf('server/audit/write-export.ts', longReads, [
    [
      'an export goes on when its caller has left',
      "once(out, 'drain', { signal })",
      "once(out, 'drain')",
    ],
    ['a caller who takes nothing holds an export', 'setTimeout(stall, drainMs)', 'undefined'],
  ]),
  ...mutationsOf('db/audit/statistics.ts', hours, [
    [
      'a chart counts events of hours that were counted',
      "coalesce(max(coalesce(counted_to, hour_at + interval '1 hour')), '-infinity')",
      "'-infinity'::timestamptz",
    ],
  ]),
  ...mutationsOf('db/audit/event-hours.ts', hours, [
    ['an hour that takes too long stops all hours after it', 'longestMs /= 2', 'throw error'],
  ]),
  ...mutationsOf('drizzle/0031_event_hours_in_parts.sql', hours, [
    [
      'events are counted while a transaction may still add to them',
      'where e.txid < pg_snapshot_xmin(pg_current_snapshot())',
      'where true',
    ],
    [
      'the parts of an hour take the place of each other',
      'issued = h.issued + excluded.issued',
      'issued = excluded.issued',
    ],
    ['the running hour is counted when it is over', 'to_at := least(to_at, final_at)', 'return 0'],
  ]),
]
