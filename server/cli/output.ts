/**
 * Text from outside, made safe for a terminal and a table: control characters, line breaks and bidi marks
 * are shown as `\u{…}`, and long text is cut.
 */
export function printable(text: string, maxLength = 80): string {
  const shown = text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, escape)
  const characters = Array.from(shown)
  return characters.length <= maxLength ? shown : `${characters.slice(0, maxLength - 1).join('')}…`
}

/** Columns under their titles, two spaces apart. */
export function table(
  titles: readonly string[],
  rows: readonly (readonly string[])[],
): readonly string[] {
  const widths = titles.map((title, i) =>
    rows.reduce((width, row) => Math.max(width, widthOf(row[i] ?? '')), widthOf(title)),
  )
  return [titles, ...rows].map((row) =>
    row
      .map((cell, i) => cell + ' '.repeat((widths[i] ?? 0) - widthOf(cell)))
      .join('  ')
      .trimEnd(),
  )
}

/** Reports the progress of long work on stderr: not in the first second, then at most once a second. */
export function createProgress(): (found: { families: number; events: number }) => void {
  let printedAt = performance.now()
  return (found) => {
    const nowAt = performance.now()
    if (nowAt - printedAt < 1_000) return
    printedAt = nowAt
    console.error(`… ${counts(found)}`)
  }
}

export function counts({ families, events }: { families: number; events: number }): string {
  return `${pluralize(families, 'family', 'families')}, ${pluralize(events, 'event')}`
}

export function pluralize(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString('en')} ${count === 1 ? one : many}`
}

/** `2026-01-31 22:00:50`, in UTC, of epoch milliseconds. */
export function dateTime(atMs: number): string {
  return new Date(atMs).toISOString().slice(0, 19).replace('T', ' ')
}

function widthOf(cell: string): number {
  return Array.from(cell).length
}

function escape(character: string): string {
  return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`
}
