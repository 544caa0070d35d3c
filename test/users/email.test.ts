import { describe, expect, test } from 'vitest'
import { canonicalEmail } from '../../server/users/email.ts'

describe('PW-13 V20: an e-mail address has one spelling', () => {
  test.each([
    ['a canonical address', 'user@example.com', 'user@example.com'],
    ['upper case', 'User@EXAMPLE.com', 'user@example.com'],
    ['spaces around it', '  user@example.com ', 'user@example.com'],
    ['dots and a tag', 'first.last+tag@example.co.uk', 'first.last+tag@example.co.uk'],
    ['special characters', "o'neil_{x}@example.com", "o'neil_{x}@example.com"],
    ['a domain of one label', 'admin@localhost', 'admin@localhost'],
    ['a domain beyond ASCII', 'user@EXÄMPLE.com', 'user@xn--exmple-cua.com'],
    ['a decomposed domain', 'user@exa\u0308mple.com', 'user@xn--exmple-cua.com'],
    ['a domain in Punycode', 'user@XN--EXMPLE-CUA.com', 'user@xn--exmple-cua.com'],
    ['a Kelvin sign in the domain', 'user@quac\u212a.com', 'user@quack.com'],
    ['an ideographic full stop', 'user@a\u3002example', 'user@a.example'],
    [
      '64 characters before the @',
      `${'a'.repeat(64)}@example.com`,
      `${'a'.repeat(64)}@example.com`,
    ],
  ])('%s: %s becomes %s', (_what, typed, canonical) => {
    expect(canonicalEmail(typed)).toBe(canonical)
  })

  test('the canonical spelling of a canonical spelling is itself', () => {
    const once = canonicalEmail('User@exa\u0308mple.com')!
    expect(canonicalEmail(once)).toBe(once)
  })
})

describe('PW-13 V20: an address that could be taken for another account is refused', () => {
  test.each([
    ['a Kelvin sign, which lower() folds to k', 'quac\u212a@x'],
    ['a dotless i', 'adm\u0131n@x'],
    ['a dotted capital I', 'adm\u0130n@x'],
    ['a Cyrillic a', '\u0430dmin@x'],
    ['a fullwidth @', 'user\uFF20example.com'],
    ['a fullwidth @ in the domain', 'user@a\uFF20b'],
    ['two addresses', 'a@x,b@y'],
    ['two @', 'a@b@c'],
    ['a composed letter', 'us\u00e9r@x'],
    ['a decomposed letter (NFD)', 'use\u0301r@x'],
    ['a trailing dot', 'user@example.com.'],
    ['an empty label', 'user@example..com'],
    ['NUL', 'user@x\0'],
    ['a line break', 'user@x\nBcc: b@y'],
    ['a tab in the domain', 'user@ex\tample.com'],
    ['a bidi override', 'user\u202e@x'],
    ['a zero-width space', 'us\u200ber@x'],
    ['a zero-width joiner in the domain', 'user@ex\u200dample.com'],
    ['a soft hyphen in the domain', 'user@ex\u00adample.com'],
    ['a byte order mark', '\ufeffuser@x'],
    ['a no-break space', '\u00a0user@x'],
    ['a lone surrogate', 'user@\ud800x'],
    ['a space inside', 'us er@x'],
    ['quotes', '"user"@x'],
    ['a comment', 'user(me)@x'],
    ['angle brackets', 'User <user@x>'],
    ['a dot at the start', '.user@x'],
    ['a dot at the end', 'user.@x'],
    ['two dots', 'us..er@x'],
    ['percent-encoding in the domain', 'user@ex%41mple.com'],
    ['a path behind the domain', 'user@ex\u00e4mple.com/x'],
    ['a fragment behind the domain', 'user@ex\u00e4mple.com#x'],
    ['a port', 'user@example.com:25'],
    ['an address literal', 'user@[127.0.0.1]'],
    ['an IPv4 address', 'user@127.0.0.1'],
    ['an IPv4 address in hexadecimal', 'user@0x7f.1'],
    ['a fullwidth IPv4 address', 'user@\uff11\uff12\uff17.1'],
    ['an underscore in the domain', 'user@a_b.com'],
    ['a hyphen at the start of a label', 'user@-a.com'],
    ['broken Punycode', 'user@xn--a'],
    ['no domain', 'user@'],
    ['no local part', '@example.com'],
    ['no @', 'user'],
    ['nothing', ''],
    ['65 characters before the @', `${'a'.repeat(65)}@example.com`],
    ['a label of 64 characters', `user@${'a'.repeat(64)}.com`],
  ])('an address is refused: %s', (_name, typed) => {
    expect(canonicalEmail(typed)).toBeNull()
  })
})

test('PW-13 V20 (RFC 5321 §4.5.3.1.3): 254 characters are an address and 255 are not', () => {
  const tail = `.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(57)}`
  expect(canonicalEmail(`${'a'.repeat(64)}@e${tail}`)).toHaveLength(252)
  expect(canonicalEmail(`${'a'.repeat(64)}@eee${tail}`)).toHaveLength(254)
  expect(canonicalEmail(`${'a'.repeat(64)}@eeee${tail}`)).toBeNull()
})

test('a line of 200,000 characters is refused before any search in it', () => {
  const startedAt = performance.now()
  expect(canonicalEmail(`a${' '.repeat(200_000)}b@x`)).toBeNull()
  expect(canonicalEmail(`a@${'\u0308'.repeat(200_000)}`)).toBeNull()
  // A quadratic search takes minutes, a refusal less than a millisecond.
  expect(performance.now() - startedAt).toBeLessThan(2_000)
})
