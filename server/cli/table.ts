/** Aligned columns for a terminal; what a stranger may have chosen cannot break out of its cell. */
export function formatTable(
  names: readonly string[],
  rows: readonly (readonly unknown[])[],
): string {
  const lines = [names, ...rows.map((row) => row.map(toCell))]
  const widths = names.map((_, i) => Math.max(...lines.map((line) => line[i]?.length ?? 0)))
  return lines
    .map((line) =>
      line
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** Control, bidi and zero-width characters would move the cursor or turn the line around. */
function toCell(value: unknown): string {
  if (value === null || value === undefined) return '–'
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return text.replace(/\p{C}/gu, '·').slice(0, 80)
}
