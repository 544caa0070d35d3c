import { generateKeyPairSync, sign, verify } from 'node:crypto'
import { expect, test } from 'vitest'
import { joseSignature } from '../../server/tokens/access-token.ts'

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })

test('a signature is r and s, 32 bytes each, however short the numbers are (RFC 7518 §3.4)', () => {
  const seen = new Set<number>()
  // One number in 256 is a byte shorter than the others, and every second one needs a leading zero in DER.
  for (let i = 0; i < 2_000; i++) {
    const data = Buffer.from(`message ${i}`)
    const der = sign('sha256', data, privateKey)
    seen.add(der.length)
    const signature = joseSignature(der)
    expect(signature).toHaveLength(64)
    expect(verify('sha256', data, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature)).toBe(
      true,
    )
  }
  expect(seen.size).toBeGreaterThan(3)
})

test('the smallest and the largest numbers are padded to 32 bytes', () => {
  const integer = (bytes: number[]) => [2, bytes.length, ...bytes]
  const largest = Array.from({ length: 32 }, () => 0xff)
  const numbers = [...integer([1]), ...integer([0, ...largest])]
  const signature = joseSignature(Buffer.from([0x30, numbers.length, ...numbers]))
  expect([...signature]).toEqual([...Array.from({ length: 31 }, () => 0), 1, ...largest])
})
