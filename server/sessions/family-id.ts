import { randomBytes } from 'node:crypto'
import { uuidOf } from '../../db/uuid.ts'

/** A UUIDv7 of this instant: families are sorted and partitioned by their start time (RFC 9562 §5.7). */
export function createFamilyId(atMs: number): string {
  const bytes = randomBytes(16)
  bytes.writeUIntBE(atMs, 0, 6)
  bytes.writeUInt8(0x70 | (bytes.readUInt8(6) & 0x0f), 6)
  bytes.writeUInt8(0x80 | (bytes.readUInt8(8) & 0x3f), 8)
  return uuidOf(bytes.toString('hex'))
}
