import { randomBytes } from 'node:crypto'
import { chownSync, existsSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createSecretFile } from '../config/auth-secret.ts'

/**
 * The password of the superuser, made once and kept beside the data, for the owner of the data alone. Postgres asks
 * for it on its socket, too, although the socket's folder keeps other users out.
 */
export function loadOrCreatePassword(folder: string): string {
  const file = join(folder, 'password')
  if (!existsSync(file)) {
    // Not there yet, or lost: Postgres starts without one, and gets the one that is made here.
    writeRule(join(folder, 'cluster'), 'trust')
    createSecretFile(file, randomBytes(24).toString('hex'))
    // Root may have made it, and the owner of the data starts Postgres the next time.
    const { uid, gid } = statSync(folder)
    chownSync(file, uid, gid)
  }
  return readFileSync(file, 'utf8')
}

/** Whether Postgres still accepts connections without a password: initdb leaves it so, and so did older versions. */
export function isTrusting(cluster: string): boolean {
  return /^local\s.*\strust$/m.test(readFileSync(join(cluster, 'pg_hba.conf'), 'utf8'))
}

/** Takes effect when Postgres reads its files again. */
export function expectPassword(cluster: string): void {
  writeRule(cluster, 'scram-sha-256')
}

function writeRule(cluster: string, method: 'trust' | 'scram-sha-256'): void {
  const file = join(cluster, 'pg_hba.conf')
  const { uid, gid } = statSync(file)
  const draft = `${file}.${process.pid}`
  writeFileSync(draft, `local all all ${method}\n`, { mode: 0o600, flush: true })
  chownSync(draft, uid, gid)
  renameSync(draft, file)
}
