import { uuidOf } from '../uuid.ts'

/** Encrypts texts for a cookie, and derives the id of an attempt from a token. One for each secret. */
export type Seal = {
  seal(text: string): Promise<string>
  /** @returns null for what was not made with this secret and purpose, or was changed */
  open(sealed: string): Promise<string | null>
  /** The same UUID (RFC 9562 version 8) in every process, for the same token. Says nothing about the token. */
  attemptIdOf(refreshToken: string): Promise<string>
}

const format = 'v1.'
/** AES-GCM's own length (NIST SP 800-38D, 8.2). Random ones do for 2^32 cookies with one secret. */
const nonceBytes = 12

/** @param purpose Authenticated with each text: what was sealed for another purpose does not open. */
export function createSeal(secret: string, purpose: string): Seal {
  let keys: Keys | null = null
  // Keeps the keys and not their promise: at the edge, a request cannot wait for a promise of another one.
  const ready = async () => (keys ??= await deriveKeys(secret))
  const withNonce = (iv: Uint8Array<ArrayBuffer>) => ({
    name: 'AES-GCM',
    iv,
    additionalData: bytesOf(purpose),
  })
  return {
    async seal(text) {
      const { sealing } = await ready()
      const nonce = crypto.getRandomValues(new Uint8Array(nonceBytes))
      const sealed = await crypto.subtle.encrypt(withNonce(nonce), sealing, bytesOf(text))
      return format + toBase64Url(new Uint8Array([...nonce, ...new Uint8Array(sealed)]))
    },
    async open(sealed) {
      if (!sealed.startsWith(format)) return null
      const { sealing } = await ready()
      try {
        const bytes = fromBase64Url(sealed.slice(format.length))
        const nonce = withNonce(bytes.slice(0, nonceBytes))
        const text = await crypto.subtle.decrypt(nonce, sealing, bytes.slice(nonceBytes))
        return new TextDecoder().decode(text)
      } catch {
        return null
      }
    },
    async attemptIdOf(refreshToken) {
      const { naming } = await ready()
      const mac = new Uint8Array(await crypto.subtle.sign('HMAC', naming, bytesOf(refreshToken)))
      return uuidOf(mac, 8)
    },
  }
}

type Keys = { readonly sealing: CryptoKey; readonly naming: CryptoKey }

/** One key for each use (NIST SP 800-57, 5.2), both from the secret by HKDF (RFC 5869). */
async function deriveKeys(secret: string): Promise<Keys> {
  const { subtle } = crypto
  const root = await subtle.importKey('raw', bytesOf(secret), 'HKDF', false, ['deriveKey'])
  const from = (info: string) => ({
    name: 'HKDF',
    hash: 'SHA-256',
    salt: new Uint8Array(),
    info: bytesOf(`token-ledger ${info}`),
  })
  const aes = { name: 'AES-GCM', length: 256 }
  const hmac = { name: 'HMAC', hash: 'SHA-256', length: 256 }
  const [sealing, naming] = await Promise.all([
    subtle.deriveKey(from('cookie'), root, aes, false, ['encrypt', 'decrypt']),
    subtle.deriveKey(from('attempt'), root, hmac, false, ['sign']),
  ])
  return { sealing, naming }
}

function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text)
}

function toBase64Url(bytes: Uint8Array): string {
  const base64 = btoa(String.fromCharCode(...bytes))
  return base64.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
}

function fromBase64Url(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'))
  return Uint8Array.from(binary, (char) => char.charCodeAt(0))
}
