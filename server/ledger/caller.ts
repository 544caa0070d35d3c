/** Where a request came from. Personal data, stored so that it can be erased. */
export type Caller = { readonly ip: string | null; readonly userAgent: string | null }

/**
 * Whether the two may be one client: they share a network or the user agent. A phone that changes its network
 * keeps its user agent. What the service cannot see of both is the same; of one alone, it is not.
 */
export function mayBeSameClient(one: Caller, other: Caller): boolean {
  return networkOf(one.ip) === networkOf(other.ip) || one.userAgent === other.userAgent
}

/** Whether the two are known to be in different networks. */
export function isElsewhere(one: Caller, other: Caller): boolean {
  if (one.ip === null || other.ip === null) return false
  return networkOf(one.ip) !== networkOf(other.ip)
}

/**
 * The /24 of an IPv4 address or the /64 of an IPv6 address, which is what one site usually has. SQL's
 * `network_of` gives the same networks.
 */
export function networkOf(ip: string | null): string | null {
  if (ip === null) return null
  if (!ip.includes(':')) return ip.replace(/\.\d+$/, '.0/24')
  const groups = ipv6Groups(ip).slice(0, 4)
  return `${groups.map((group) => group.toString(16)).join(':')}::/64`
}

/** The eight groups of an IPv6 address. Where the last two are written as an IPv4 address, they are 0. */
export function ipv6Groups(ip: string): number[] {
  const [left = [], right = []] = ip
    .replace(/[^:]+\.[^:]+$/, '0:0')
    .split('::')
    .map((half) => half.split(':').filter(Boolean))
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => '0')
  return [...left, ...zeros, ...right].map((group) => Number.parseInt(group, 16))
}
