/** A UUID as four unsigned integers of 32 bits: 16 bytes in a typed array, where its text takes 60. */
export type SessionId = readonly [number, number, number, number]

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** @returns null for a text that is no UUID */
export function parseSessionId(text: string): SessionId | null {
  if (text.length !== 36 || !uuid.test(text)) return null
  return [
    hexAt(text, 0, 8),
    hexAt(text, 9, 13) * 0x10000 + hexAt(text, 14, 18),
    hexAt(text, 19, 23) * 0x10000 + hexAt(text, 24, 28),
    hexAt(text, 28, 36),
  ]
}

export function formatSessionId(id: SessionId): string {
  const hex = id.map((word) => word.toString(16).padStart(8, '0')).join('')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

function hexAt(text: string, from: number, to: number): number {
  return Number.parseInt(text.slice(from, to), 16)
}
