import type { SessionId } from './session-id.ts'

/** A Bloom filter: it knows every id that was added, and takes some others for one of them. */
export type IdFilter = {
  mayHave(id: SessionId): boolean
  add(id: SessionId): void
}

/** 16 MiB: with four million ids, one of 6,000 others is taken for one of them; with twenty million, one of 24. */
const bits = 2 ** 27

const probes = 4

export function createIdFilter(): IdFilter {
  const words = new Uint32Array(bits / 32)

  /** The bits of an id, from two of its random parts. The second is odd, so that the bits differ. */
  function* bitsOf([, , c, d]: SessionId): Generator<number> {
    for (let probe = 0; probe < probes; probe++)
      yield (d + Math.imul(probe, (c << 1) | 1)) & (bits - 1)
  }

  return {
    mayHave(id) {
      for (const bit of bitsOf(id))
        if (((words[bit >>> 5] ?? 0) & (1 << (bit & 31))) === 0) return false
      return true
    },
    add(id) {
      for (const bit of bitsOf(id)) words[bit >>> 5] = (words[bit >>> 5] ?? 0) | (1 << (bit & 31))
    },
  }
}
