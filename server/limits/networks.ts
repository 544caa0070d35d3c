import { isIPv6 } from 'node:net'
import { ipv6Groups } from '../ledger/caller.ts'

/**
 * The networks that a caller is counted in, the narrowest first: an IPv4 address alone, or the /64, the /56
 * and the /48 of an IPv6 address. None for an unknown address: all callers without one would share it.
 */
export function networksOf(ip: string | null): readonly string[] {
  if (ip === null) return []
  if (!isIPv6(ip)) return [ip]
  const groups = ipv6Groups(ip)
  return [64, 56, 48].map((bits) => prefixOf(groups, bits))
}

function prefixOf(groups: readonly number[], bits: number): string {
  const kept = groups.slice(0, Math.ceil(bits / 16))
  // The upper byte of the last group, where the prefix ends inside it.
  const cut = kept.map((group, i) => ((i + 1) * 16 > bits ? group & 0xff00 : group))
  return `${cut.map((group) => group.toString(16)).join(':')}::/${bits}`
}
