import { BlockList, isIPv4, isIPv6 } from 'node:net'

/**
 * The address in what a proxy writes: with a port, in brackets or quotes, with a zone (RFC 4007 §11), which
 * names a local interface and which Postgres does not accept, or as IPv4 mapped to IPv6 in any spelling.
 *
 * @returns IPv4, or IPv6 in its canonical form (RFC 5952); null for anything else, such as `unknown`
 */
export function parseAddress(text: string | undefined): string | null {
  if (text === undefined || isIPv4(text)) return text ?? null
  const [, bracketed, plain = ''] =
    /^"?(?:\[([^\]]*)\](?::\d+)?|([^"]*))"?$/.exec(text.trim()) ?? []
  const [bare = ''] = (bracketed ?? withoutPort(plain)).split('%')
  if (isIPv4(bare)) return bare
  if (!isIPv6(bare)) return null
  const canonical = new URL(`http://[${bare}]`).hostname.slice(1, -1)
  const [, high, low] = /^::ffff:([\da-f]+):([\da-f]+)$/.exec(canonical) ?? []
  if (high === undefined || low === undefined) return canonical
  const bits = [high, low].map((group) => Number.parseInt(group, 16))
  return bits.flatMap((group) => [group >> 8, group & 0xff]).join('.')
}

/** Of IPv4 alone: without brackets, a port looks like the end of an IPv6 address. */
function withoutPort(text: string): string {
  return text.replace(/^(\d+(?:\.\d+){3}):\d+$/, '$1')
}

/** Whether an address is in one of these networks (CIDR), however a proxy writes it. */
export function isIn(networks: readonly string[]): (text: string | undefined) => boolean {
  const list = new BlockList()
  for (const network of networks) {
    const [address = '', bits] = network.split('/')
    list.addSubnet(address, Number(bits), isIPv6(address) ? 'ipv6' : 'ipv4')
  }
  return (text) => {
    const address = parseAddress(text)
    return address !== null && list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4')
  }
}

/** Loopback, private (RFC 1918, 4193) and shared (RFC 6598) addresses: where a proxy of one's own is. */
export const isNearby = isIn([
  '127.0.0.0/8',
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '100.64.0.0/10',
  '::1/128',
  'fc00::/7',
])
