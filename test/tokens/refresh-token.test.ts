import { createHash, createHmac, hkdfSync } from 'node:crypto'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createFamilyId } from '../../server/sessions/family-id.ts'
import {
  createRefreshToken,
  deriveRefreshTokenKeys,
  deriveSuccessor,
  findDescendant,
  hashSecret,
  parseRefreshToken,
} from '../../server/tokens/refresh-token.ts'
import { testSecret } from '../support/server.ts'

const otherSecret = 'mQ4vZ8sLk2Xw9Rt6Yb3Nc7Jd1Hf5Gp0AeUiOaSxTzVyBnC'
const keys = deriveRefreshTokenKeys([testSecret])
const familyId = createFamilyId(Date.UTC(2030, 0, 1))
const salt = Buffer.alloc(16, 's')
const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

test('a token is tlr1. and 68 bytes in base64url: about a hundred characters', () => {
  const token = createRefreshToken(keys, familyId)
  expect(token.value).toMatch(/^tlr1\.[A-Za-z0-9_-]{91}$/)
  const bytes = Buffer.from(token.value.slice(5), 'base64url')
  expect(bytes.subarray(0, 16).toString('hex')).toBe(familyId.replaceAll('-', ''))
  expect(bytes.readUInt32BE(16)).toBe(0)
  expect(bytes.subarray(20, 52)).toEqual(token.secret)
})

test('a created token parses to its own parts', () => {
  const token = createRefreshToken(keys, familyId)
  const successor = deriveSuccessor(keys[0], token, salt)
  expect(parseRefreshToken(keys, token.value)).toEqual(token)
  expect(parseRefreshToken(keys, successor.value)).toEqual(successor)
  expect(successor).toMatchObject({ familyId, generation: 1 })
})

test('AT-13 (ASVS 13.3.1, RFC 9700 §4.14.2): the MAC covers family, generation and secret with a key of its own', () => {
  const bytes = Buffer.from(createRefreshToken(keys, familyId).value.slice(5), 'base64url')
  const key = Buffer.from(hkdfSync('sha256', testSecret, '', 'token-ledger refresh mac', 32))
  const mac = createHmac('sha256', key).update(bytes.subarray(0, 52)).digest().subarray(0, 16)
  expect(bytes.subarray(52)).toEqual(mac)
})

test('RT-02 (ASVS 6.5.2): the ledger gets SHA-256 of the secret, never the secret', () => {
  const token = createRefreshToken(keys, familyId)
  expect(hashSecret(token)).toEqual(createHash('sha256').update(token.secret).digest())
})

test('RT-01 (ASVS 7.2.3): no two first tokens are alike: 256 random bits', () => {
  const made = Array.from({ length: 1000 }, () => createRefreshToken(keys, familyId).value)
  expect(new Set(made).size).toBe(1000)
})

describe('a text that is not a token of this service is refused', () => {
  const { value } = createRefreshToken(keys, familyId)

  test('a token with any one bit flipped is refused', () => {
    const bytes = Buffer.from(value.slice(5), 'base64url')
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const forged = Buffer.from(bytes)
      forged.writeUInt8(forged.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
      expect(parseRefreshToken(keys, `tlr1.${forged.toString('base64url')}`)).toBeNull()
    }
  })

  test('any other spelling of the same bytes is refused', () => {
    const bytes = Buffer.from(value.slice(5), 'base64url')
    const spellings = Array.from(alphabet, (letter) => value.slice(0, -1) + letter)
    const same = spellings.filter((other) => Buffer.from(other.slice(5), 'base64url').equals(bytes))
    // 91 characters hold two bits more than 68 bytes: of the four spellings one is accepted.
    expect(same).toHaveLength(4)
    expect(same.filter((other) => parseRefreshToken(keys, other) !== null)).toEqual([value])
    expect(parseRefreshToken(keys, `tlr1.${bytes.toString('base64')}`)).toBeNull()
  })

  test.each([
    ['nothing', ''],
    ['the prefix alone', 'tlr1.'],
    ['no prefix', value.slice(5)],
    ['another version', value.replace('tlr1', 'tlr2')],
    ['upper case in the prefix', value.replace('tlr1', 'TLR1')],
    ['a character too few', value.slice(0, -1)],
    ['a character too many', `${value}A`],
    ['padding', `${value}=`],
    ['a line break at the end', `${value}\n`],
    ['spaces around it', ` ${value} `],
    ['quotes around it, as a cookie may have', `"${value}"`],
    ['the token twice', value + value],
    ['another alphabet', value.replace(/.$/, '+')],
  ])('the text is refused: %s', (_what, text) => {
    expect(parseRefreshToken(keys, text)).toBeNull()
  })

  test('RT-24 (ASVS 2.2.1): any random text is refused without an exception', () => {
    const shaped = fc
      .uint8Array({ minLength: 68, maxLength: 68 })
      .map((bytes) => `tlr1.${Buffer.from(bytes).toString('base64url')}`)
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.string({ unit: 'binary' }), shaped), (text) => {
        expect(parseRefreshToken(keys, text)).toBeNull()
      }),
    )
  })

  test('a token of another service is refused', () => {
    const theirs = createRefreshToken(deriveRefreshTokenKeys([otherSecret]), familyId)
    expect(parseRefreshToken(keys, theirs.value)).toBeNull()
  })
})

describe('a successor', () => {
  const token = createRefreshToken(keys, familyId)
  const successor = deriveSuccessor(keys[0], token, salt)

  test('a successor is the same, byte for byte, whenever it is derived', () => {
    expect(deriveSuccessor(keys[0], token, salt).value).toBe(successor.value)
    const again = deriveRefreshTokenKeys([testSecret])
    expect(deriveSuccessor(again[0], token, salt).value).toBe(successor.value)
  })

  test('a successor differs with another predecessor, salt, family, generation or server secret', () => {
    const otherKeys = deriveRefreshTokenKeys([otherSecret])
    const others = [
      deriveSuccessor(keys[0], createRefreshToken(keys, familyId), salt),
      deriveSuccessor(keys[0], token, Buffer.alloc(16, 't')),
      deriveSuccessor(keys[0], { ...token, familyId: createFamilyId(0) }, salt),
      deriveSuccessor(keys[0], { ...token, generation: 7 }, salt),
      deriveSuccessor(otherKeys[0], token, salt),
    ]
    const secrets = [successor, ...others].map(({ secret }) => secret.toString('hex'))
    expect(new Set(secrets).size).toBe(secrets.length)
  })

  test('a successor is found again by the hash in the ledger, which is of its secret alone', () => {
    const made = { salt, tokenHash: hashSecret(successor) }
    expect(made.tokenHash).toHaveLength(32)
    expect(findDescendant(keys, token, [made])?.value).toBe(successor.value)
    expect(findDescendant(keys, token, [{ ...made, salt: Buffer.alloc(16) }])).toBeNull()
  })
})

describe('while AUTH_SECRET is being changed', () => {
  const changed = deriveRefreshTokenKeys([otherSecret, testSecret])
  const old = createRefreshToken(keys, familyId)

  test('tokens of the previous secret are accepted, and new ones are of the newest', () => {
    expect(parseRefreshToken(changed, old.value)).toEqual(old)
    const successor = deriveSuccessor(changed[0], old, salt)
    expect(parseRefreshToken(deriveRefreshTokenKeys([otherSecret]), successor.value)).not.toBeNull()
    expect(parseRefreshToken(keys, successor.value)).toBeNull()
  })

  test('a successor that was made before the change is the same after it', () => {
    const successor = deriveSuccessor(keys[0], old, salt)
    const made = { salt, tokenHash: hashSecret(successor) }
    expect(findDescendant(changed, old, [made])?.value).toBe(successor.value)
  })

  test('once the previous secret is removed, its tokens are refused', () => {
    expect(parseRefreshToken(deriveRefreshTokenKeys([otherSecret]), old.value)).toBeNull()
  })
})
