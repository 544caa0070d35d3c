import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { RunAs } from './postgres-home.ts'

/** The user `nobody` has this number on every Linux distribution that has it. */
export const nobodyUser: RunAs = { uid: 65534, gid: 65534 }

/**
 * Numbers that no distribution assigns (systemd, "Users, Groups, UIDs and GIDs"). The second range is for containers
 * that map only the first 65,536.
 */
const ranges = [
  { first: 0x7000_0000, size: 2 ** 28 },
  { first: 60_578, size: 606 },
] as const

/**
 * A user for the Postgres of one folder, so that no other program runs as it. It has no name. Its number follows from
 * the path, and is the next one without a name in this system.
 */
export function ownUserOf(folder: string): RunAs {
  const digest = createHash('sha256').update(folder).digest().readUInt32BE()
  const taken = new Set([...idsIn('/etc/passwd'), ...idsIn('/etc/group')])
  const { first, size } = ranges.find((range) => isMapped(range.first)) ?? ranges[1]
  let id = first + (digest % size)
  while (taken.has(id)) id = first + ((id + 1 - first) % size)
  return { uid: id, gid: id }
}

/** Whether /etc/passwd lists the user: initdb accepts no other. */
export function hasName({ uid }: RunAs): boolean {
  return idsIn('/etc/passwd').includes(uid)
}

/** Whether the number exists in this container. */
function isMapped(id: number): boolean {
  return ['uid_map', 'gid_map'].every((map) =>
    readFileSync(`/proc/self/${map}`, 'utf8')
      .trim()
      .split('\n')
      .some((line) => {
        const [inside = 0, , count = 0] = line.trim().split(/\s+/).map(Number)
        return inside <= id && id < inside + count
      }),
  )
}

function idsIn(file: string): number[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .map((line) => Number(line.split(':')[2]))
}
