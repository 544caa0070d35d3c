/**
 * The packages that are made from this repository beside the service, and what each can be imported by. A further entry
 * is one line here. `.ci/build-packages.ts` makes them.
 */
export const packages: Record<string, Package> = {
  '@token-ledger/client': {
    description: 'Signs users of token-ledger in, and keeps them signed in: browsers, apps, tools.',
    guide: 'docs/guides/frontend.md',
    entries: {
      '.': 'client/index.ts',
      './trpc': 'client/trpc.ts',
      './react': 'client/react/index.ts',
      './server': 'client/server/index.ts',
      './file-store': 'client/credential/file-store.ts',
    },
    optionalPeers: { '@trpc/client': '^11', '@trpc/server': '^11', react: '>=18.2' },
  },
  '@token-ledger/verifier': {
    description: 'Verifies the access tokens of token-ledger in services that accept them.',
    guide: 'docs/guides/services.md',
    entries: {
      '.': 'server/verifier/index.ts',
      './express': 'server/verifier/express.ts',
      './fastify': 'server/verifier/fastify.ts',
      './koa': 'server/verifier/koa.ts',
      './nest': 'server/verifier/nest.ts',
      './trpc': 'server/verifier/trpc.ts',
    },
    dependencies: ['jose'],
    optionalPeers: { fastify: '^5', '@trpc/server': '^11' },
  },
  '@token-ledger/testing': {
    description: 'For the tests of apps and services that use token-ledger.',
    guide: 'docs/guides/testing.md',
    entries: {
      '.': 'client/testing/index.ts',
      './msw': 'client/testing/msw.ts',
    },
    dependencies: ['@token-ledger/client', 'jose'],
    optionalPeers: { msw: '^2' },
  },
}

export type Package = {
  readonly description: string
  /** The page that explains it. */
  readonly guide: string
  /** Each entry with its source. */
  readonly entries: Readonly<Record<string, string>>
  /** Packages that it needs at run time, in the versions of `package.json`; or another package of this list. */
  readonly dependencies?: readonly string[]
  /** Packages that one of its entries, or the types of one, need. */
  readonly optionalPeers?: Readonly<Record<string, string>>
}
