import { isIP } from 'node:net'
import { z } from 'zod'

/** An address, a CIDR range, or the first octets of an IPv4 address (`10.1` or `10.1.`); becomes a CIDR range. */
export const network = z
  .string()
  .max(49)
  .transform((given, ctx) => {
    const range = rangeOf(given.trim())
    if (range === null) ctx.addIssue({ code: 'custom', message: 'Not an address or a CIDR range.' })
    return range ?? z.NEVER
  })

function rangeOf(text: string): string | null {
  const [address = '', bits, more] = text.split('/')
  const octets = address.replace(/\.$/, '').split('.')
  if (bits === undefined && octets.length < 4 && !address.includes(':')) {
    const whole = [...octets, '0', '0', '0'].slice(0, 4).join('.')
    return isIP(whole) === 4 ? `${whole}/${octets.length * 8}` : null
  }
  const version = isIP(address)
  // A zone is of one host only, and Postgres stores none.
  if (version === 0 || address.includes('%') || more !== undefined) return null
  const most = version === 4 ? 32 : 128
  if (bits === undefined) return `${address}/${most}`
  return /^\d{1,3}$/.test(bits) && Number(bits) <= most ? `${address}/${Number(bits)}` : null
}
