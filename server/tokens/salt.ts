import { randomBytes } from 'node:crypto'

const size = 16
const kept = 256

let pool: Buffer = Buffer.alloc(0)
let at = 0

/**
 * 16 random bytes. They are asked for by the page, as Node does for its UUIDs: each call asks the
 * system, which takes ten times as long as the copying.
 */
export function randomSalt(): Buffer {
  if (at === pool.length) {
    pool = randomBytes(size * kept)
    at = 0
  }
  const salt = pool.subarray(at, at + size)
  at += size
  return salt
}
