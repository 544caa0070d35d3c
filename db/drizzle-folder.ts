import { createRequire } from 'node:module'
import path from 'node:path'

/** Found by the package's name, because the sources and `dist` are at different depths. */
const packageRoot = path.dirname(
  createRequire(import.meta.url).resolve('token-ledger/package.json'),
)

/** The migrations, and the statements that `migrate` runs each time. */
export const drizzleFolder = path.join(packageRoot, 'drizzle')
