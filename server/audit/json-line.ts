/**
 * One line of JSON, whatever its strings contain. Characters that a terminal would obey or a reader would
 * not see are escaped: control characters and bidi marks.
 */
export function jsonLine(value: unknown): string {
  return JSON.stringify(value).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (character) =>
    Array.from({ length: character.length }, (_, i) => escape(character.charCodeAt(i))).join(''),
  )
}

function escape(codeUnit: number): string {
  return `\\u${codeUnit.toString(16).padStart(4, '0')}`
}
