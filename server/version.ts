import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'

/** The version of the package that this file is part of; null where none is found. */
export const version: string | null = readVersion(import.meta.dirname)

function readVersion(folder: string): string | null {
  const file = path.join(folder, 'package.json')
  if (existsSync(file))
    return (JSON.parse(readFileSync(file, 'utf8')) as { version?: string }).version ?? null
  const parent = path.dirname(folder)
  return parent === folder ? null : readVersion(parent)
}
