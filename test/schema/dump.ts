import type { Sql } from 'postgres'
import { readCatalogue, type Catalogue, type Trigger } from './catalogue.ts'
import { rooms, type Room } from './rooms.ts'

const head = `The schema after the last migration, each object once. For reading: only the migrations make or change a database.
Written by \`npm run schema:dump\`; the sentences are in test/schema/rooms.ts.`

/**
 * The schema of a migrated database, as `drizzle/schema.sql` has it.
 *
 * @throws when `rooms.ts` lacks an object of the database, or has one that the database lacks
 */
export async function dumpSchema(sql: Sql): Promise<string> {
  const catalogue = await readCatalogue(sql)
  checkRooms(catalogue)
  const made = new Set<string>()
  const titles = [...rooms.map(({ title }) => title), rightsTitle]
  const contents = titles.map((title, i) => `${i + 1}. ${title}`).join('\n')
  const sections = [...rooms.map((room) => roomSql(room, catalogue, made)), rightsSql(catalogue)]
  const numbered = sections.map((section, i) => `${heading(i + 1, titles[i]!)}\n\n${section}`)
  return `${[comment(head), comment(contents), ...numbered].join('\n\n')}\n`
}

const rightsHead = `The rights of the roles, and the state of the triggers, as the migrations leave them. \`migrate\` runs this each time:
a backup can be restored without them. Written by \`npm run schema:dump\`.`

/** What `migrate` does each time, as `drizzle/rights.sql` has it. */
export async function dumpRights(sql: Sql): Promise<string> {
  const { rights, triggers } = await readCatalogue(sql)
  const statements = [...rights.values()].map((some) => some.join('\n'))
  return `${[comment(rightsHead), ...statements, statesSql(triggers)].join('\n\n')}\n`
}

/** Touches a trigger only where its state is another one, because that takes a lock which stops all writers. */
function statesSql(triggers: readonly Trigger[]): string {
  const rows = triggers
    .filter(({ table }) => !table.endsWith('_default'))
    .map(({ table, name, isAlways }) => {
      const of = table.replace(/^table /, '')
      return `      ('${of}'::regclass, '${name}', '${isAlways ? 'A' : 'O'}')`
    })
  return `-- A partition has the triggers of its table. A is "enable always", O is "enable".
do $$
declare
  wrong record;
begin
  for wrong in
    select t.tgrelid::regclass as guarded, t.tgname as name, due.state
    from (values
${rows.join(',\n')}
    ) due (guarded, name, state)
    join pg_trigger t on t.tgname = due.name and t.tgenabled <> due.state::"char"
    left join pg_inherits i on i.inhrelid = t.tgrelid
    where due.guarded = coalesce(i.inhparent, t.tgrelid)
  loop
    execute format('alter table only %s enable %s trigger %I',
      wrong.guarded, case wrong.state when 'A' then 'always' end, wrong.name);
  end loop;
end
$$;`
}

function checkRooms({ objects }: Catalogue): void {
  const placed = rooms.flatMap((room) => Object.keys(room.objects))
  const unplaced = [...objects.keys()].filter((key) => !placed.includes(key))
  if (unplaced.length > 0)
    throw new Error(`test/schema/rooms.ts needs a place and a sentence for: ${unplaced.join(', ')}`)
  const gone = placed.filter((key) => !objects.has(key))
  if (gone.length > 0)
    throw new Error(`test/schema/rooms.ts has what the database lacks: ${gone.join(', ')}`)
}

function roomSql(room: Room, { objects, triggers }: Catalogue, made: Set<string>): string {
  const parts = Object.entries(room.objects).map(([key, sentence]) => {
    made.add(key)
    const complete = triggers.filter((trigger) => {
      const needs = [trigger.table, trigger.function]
      return needs.includes(key) && needs.every((need) => made.has(need))
    })
    const object = `${comment(sentence)}\n${objects.get(key)}`
    return [object, ...complete.map((trigger) => trigger.sql)].join('\n\n')
  })
  return parts.join('\n\n')
}

const rightsTitle = 'Rights'

function rightsSql({ rights }: Catalogue): string {
  const sentence =
    'The login that migrates owns everything. Any role with USAGE on a schema may execute the functions in it that ' +
    'are not revoked from PUBLIC here. Each migrate also revokes CONNECT and TEMPORARY on the database and CREATE on the ' +
    'schema public from PUBLIC.'
  return [comment(sentence), ...[...rights.values()].map((some) => some.join('\n'))].join('\n\n')
}

function heading(number: number, title: string): string {
  return comment(`${'-'.repeat(76)}\n${number}. ${title}\n${'-'.repeat(76)}`)
}

const width = 120

function comment(text: string): string {
  return text
    .split('\n')
    .flatMap((line) => line.match(new RegExp(`.{1,${width - 3}}(?:\\s|$)`, 'g')) ?? [])
    .map((line) => `-- ${line.trimEnd()}`)
    .join('\n')
}
