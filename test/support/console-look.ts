import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Where most of the look of the console comes from. */
const folders = ['client/console/style', 'client/console/words']

/** The hash of the styles and words of the console, in hex. */
export function hashOfLook(): string {
  const hash = createHash('sha256')
  for (const folder of folders)
    for (const name of readdirSync(folder).toSorted())
      hash.update(name).update(readFileSync(join(folder, name)))
  return hash.digest('hex')
}
