/**
 * The cost of hashing does not grow with the password, but parsing and normalising do. At least 64
 * characters must be allowed (ASVS 6.2.9); 1024 bytes hold 256 characters of any script.
 */
const maxPasswordBytes = 1024

/** Decomposed text is at most three times as long: any password within the limit after NFC passes this check. */
const maxRawLength = 3 * maxPasswordBytes

/** The most common passwords that are long enough for a minimum length of 8 or of 15. */
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
 * What is wrong with a new password, as a sentence for the user; null if it is accepted. The length is
 * counted in code points after normalisation. Spaces and all scripts are allowed, and no kind of character is
 * required (ASVS 6.2.5).
 */
export function passwordProblem(password: string, minLength: number): string | null {
  const normal = normalPassword(password)
  if (normal === null) {
    return `The password must be Unicode text without NUL and have at most ${maxPasswordBytes} bytes.`
  }
  const characters = Array.from(normal)
  if (characters.length < minLength)
    return `The password must have at least ${minLength} characters.`
  const isCommon = commonPasswords.has(normal.toLowerCase()) || new Set(characters).size === 1
  return isCommon ? 'The password is one of the first that attackers try.' : null
}

/**
 * The form that is hashed: NFC (RFC 8265 §4.2.2), so that the same password typed on two keyboards gives the
 * same hash. Nothing else is changed or cut off.
 *
 * @returns null if it is never accepted: with NUL, lone surrogates or more than 1024 bytes
 */
export function normalPassword(password: string): string | null {
  if (password.length > maxRawLength) return null
  // In UTF-8 every lone surrogate becomes U+FFFD, so different passwords would get the same hash.
  if (/\0|\p{Surrogate}/u.test(password)) return null
  const normal = password.normalize('NFC')
  return Buffer.byteLength(normal, 'utf8') > maxPasswordBytes ? null : normal
}
