import type postgres from 'postgres'
import type { Transaction } from './connection/transaction.ts'

/**
 * SQL for whether an address is of the same IPv4 /24 or IPv6 /64 as another. Null where one of the two is.
 *
 * @param ip SQL text of this source, never input, as is `other`
 */
export function isInNetworkOf(sql: postgres.Sql | Transaction, ip: string, other: string) {
  return sql.unsafe(
    `${ip} <<= network(set_masklen(${other}, case family(${other}) when 4 then 24 else 64 end))`,
  )
}
