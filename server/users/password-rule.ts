/**
 * Hashing cost does not grow with the password, but parsing and normalising do. Sixty-four
 * characters must be allowed (ASVS 6.2.9); this leaves room for 256 of any script.
 */
const maxPasswordBytes = 1024

/** Decomposed text is at most three times as long in UTF-8: enough to still reach the cap as NFC. */
const maxRawLength = 3 * maxPasswordBytes

/** The first guesses of every list that are long enough to pass a shortest length of 8 or 15. */
const commonPasswords: ReadonlySet<string> = new Set([
  '12345678',
  '123456789',
  '1234567890',
  '123456789012345',
  '1q2w3e4r',
  '1q2w3e4r5t',
  '1qaz2wsx',
  'abcd1234',
  'administrator',
  'baseball',
  'changeme',
  'football',
  'iloveyou',
  'password',
  'password1',
  'password123',
  'passwordpassword',
  'princess',
  'qwerty123',
  'qwertyui',
  'qwertyuiop',
  'qwertyuiopasdfgh',
  'sunshine',
  'superman',
  'trustno1',
])

/**
 * Says what is wrong with a new password, for the person who chose it; null when nothing is.
 * Length counts code points after normalisation. Spaces and every script are welcome and nothing has
 * to be mixed in (ASVS 6.2.5).
 */
export function passwordProblem(password: string, minLength: number): string | null {
  const normal = normalPassword(password)
  if (normal === null) {
    return `The password must be Unicode text without NUL, of at most ${maxPasswordBytes} bytes.`
  }
  const characters = Array.from(normal)
  if (characters.length < minLength) return `The password needs ${minLength} characters or more.`
  const isCommon = commonPasswords.has(normal.toLowerCase()) || new Set(characters).size === 1
  return isCommon ? 'The password is among the first that are guessed.' : null
}

/**
 * The form that is hashed: NFC, as RFC 8265 §4.2.2 has it, so that one password typed on two keyboards
 * is one password. Nothing else is changed and nothing is cut off.
 *
 * @returns null for what is never a password here: NUL, lone surrogates, more than 1024 bytes.
 */
export function normalPassword(password: string): string | null {
  if (password.length > maxRawLength) return null
  // A lone surrogate would turn into U+FFFD in UTF-8, and many passwords into one.
  if (/\0|\p{Surrogate}/u.test(password)) return null
  const normal = password.normalize('NFC')
  return Buffer.byteLength(normal, 'utf8') > maxPasswordBytes ? null : normal
}
