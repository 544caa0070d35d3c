import { uuidOf } from '../uuid.ts'

/** RFC 9562 version 4. Not `crypto.randomUUID`, which is missing on pages without https. */
export function newAttemptId(): string {
  return uuidOf(crypto.getRandomValues(new Uint8Array(16)), 4)
}
