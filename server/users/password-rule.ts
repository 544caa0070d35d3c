import { commonPasswords } from './common-passwords.ts'

/**
 * The cost of hashing does not grow with the password, but parsing and normalising do. At least 64
 * characters must be allowed (ASVS 6.2.9); 1024 bytes hold 256 characters of any script.
 */
const maxPasswordBytes = 1024

/** Decomposed text is at most three times as long: any password within the limit after NFC passes this check. */
const maxRawLength = 3 * maxPasswordBytes

/** Names of this product, which attackers try wherever they meet it. */
const productNames = ['token-ledger', 'token_ledger', 'token ledger', 'tokenledger']

/** So much of a password must be something else than these words and the parts of the account's address. */
const minUnknownCharacters = 8

/** Shorter parts of an address, such as `com`, occur in any text. */
const minKnownLength = 4

/** A piece of up to this many characters, over and over, is as easy to guess as the piece. */
const maxRepeatedLength = 8

export type PasswordRule = {
  readonly minLength: number
  /** The canonical address of the account, whose parts the password may not consist of. */
  readonly email: string
}

/**
 * What is wrong with a new password, as a sentence for the user; null if it is accepted. The length is
 * counted in code points after normalisation. Spaces and all scripts are allowed, and no kind of character is
 * required (ASVS 6.2.5).
 */
export function passwordProblem(
  password: string,
  { minLength, email }: PasswordRule,
): string | null {
  const normal = normalPassword(password)
  if (normal === null) {
    return `The password must be Unicode text without NUL and have at most ${maxPasswordBytes} bytes.`
  }
  if (Array.from(normal).length < minLength)
    return `The password must have at least ${minLength} characters.`
  const lower = normal.toLowerCase()
  if (commonPasswords.has(lower) || isRepetition(lower))
    return 'The password is one of the first that attackers try.'
  if (isMadeOf(knownWords(email), lower))
    return 'The password is little more than the e-mail address or the name of this product.'
  return null
}

function isRepetition(text: string): boolean {
  const longest = Math.min(maxRepeatedLength, Math.floor(text.length / 2))
  for (let length = 1; length <= longest; length += 1)
    if (text.startsWith(text.slice(length))) return true
  return false
}

/** The address, its local part, its domain and the labels of that, and the names of the product. */
function knownWords(email: string): string[] {
  const [local = '', domain = ''] = email.split('@')
  return [email, local, domain, ...domain.split('.'), ...productNames]
}

/** Whether less than `minUnknownCharacters` are left of the text without the words. */
function isMadeOf(words: readonly string[], text: string): boolean {
  const rest = words
    .filter((word) => word.length >= minKnownLength)
    // Longer words first, because they contain others.
    .toSorted((a, b) => b.length - a.length)
    .reduce((left, word) => left.replaceAll(word, ''), text)
  return rest !== text && rest.length < minUnknownCharacters
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
