import { randomBytes } from 'node:crypto'

const size = 16
const saltsPerFill = 256

let pool: Buffer = Buffer.alloc(0)
let at = 0

/**
 * 16 random bytes, taken from a buffer that is filled for many salts at once, as Node does for its UUIDs:
 * a call to the system's generator takes ten times as long as a slice of the buffer.
 */
export function randomSalt(): Buffer {
  if (at === pool.length) {
    pool = randomBytes(size * saltsPerFill)
    at = 0
  }
  const salt = pool.subarray(at, at + size)
  at += size
  return salt
}
