import type { Sql } from 'postgres'
import { readCatalogue, type Catalogue } from './catalogue.ts'
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
    'are not revoked from PUBLIC here. Each migrate also revokes TEMPORARY on the database and CREATE on the schema ' +
    'public from PUBLIC.'
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
