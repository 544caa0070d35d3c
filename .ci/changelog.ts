export type Changelog = {
  /** The newest released version, or null before the first release. */
  readonly latest: string | null
  /** Why nothing can be released from this changelog, or null. */
  readonly problem: string | null
}

const kinds = ['Added', 'Changed', 'Deprecated', 'Removed', 'Fixed', 'Security']
const unreleased = '## Unreleased'
const released = /^## (\d+\.\d+\.\d+) - \d{4}-\d{2}-\d{2}$/
/** An entry that is not written yet. */
const placeholder = /\b(?:TODO|TBD|FIXME)\b|^- (?:pending|unreleased|\.\.\.|…)\W*$/i

/** Reads a changelog in the format of Keep a Changelog. */
export function readChangelog(text: string): Changelog {
  const lines = text.split('\n')
  const headings = lines.filter((line) => line.startsWith('## '))
  const latest = released.exec(headings[1] ?? '')?.[1] ?? null
  return { latest, problem: problemOf(lines, headings) }
}

/** Moves the entries under Unreleased to a release of this day, and leaves Unreleased empty. */
export function moveUnreleased(text: string, version: string, day: string): string {
  return text.replace(`${unreleased}\n`, `${unreleased}\n\n## ${version} - ${day}\n`)
}

/** Whether `next` is the patch, minor or major version that comes directly after `version`. */
export function isNextVersion(version: string, next: string): boolean {
  const [major = 0, minor = 0, patch = 0] = version.split('.').map(Number)
  const successors = [
    [major, minor, patch + 1],
    [major, minor + 1, 0],
    [major + 1, 0, 0],
  ]
  return successors.some((successor) => successor.join('.') === next)
}

function problemOf(lines: readonly string[], headings: readonly string[]): string | null {
  if (headings[0] !== unreleased) return `the first section must be "${unreleased}"`
  const stray = headings.slice(1).find((heading) => !released.test(heading))
  if (stray !== undefined) return `"${stray}" is not a version with its date`
  const start = lines.indexOf(unreleased) + 1
  const length = lines.slice(start).findIndex((line) => line.startsWith('## '))
  const section = lines.slice(start, length === -1 ? undefined : start + length)
  return sectionProblem(section)
}

function sectionProblem(section: readonly string[]): string | null {
  const written = section.filter((line) => line.trim() !== '')
  if (written.length === 0) return 'there are no entries under Unreleased'
  const gap = written.find((line) => placeholder.test(line))
  if (gap !== undefined) return `an entry is still to be written: "${gap.trim()}"`
  if (!written[0]?.startsWith('### '))
    return 'entries under Unreleased need a heading, as "### Added"'
  for (const [index, line] of written.entries()) {
    if (!line.startsWith('### ')) continue
    if (!kinds.includes(line.slice(4))) return `"${line}" is not one of ${kinds.join(', ')}`
    if (!hasEntry(written.slice(index + 1))) return `there are no entries under "${line}"`
  }
  return null
}

/** Whether there is an entry before the next heading. */
function hasEntry(lines: readonly string[]): boolean {
  return (
    lines.find((line) => line.startsWith('- ') || line.startsWith('### '))?.startsWith('- ') ??
    false
  )
}
