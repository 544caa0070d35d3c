/**
 * Test data need not survive a power cut, and many tests have pools of their own. With minimal WAL, a copy of the
 * template takes a third of the time.
 */
export const testPostgresSettings = {
  fsync: 'off',
  full_page_writes: 'off',
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_connections: '300',
}
