import { mutationsOf, type Mutation } from './mutation.ts'

/** What the packages for clients and services hold. */
export const packages: readonly Mutation[] = [
  ...mutationsOf(
    'client/index.ts',
    ['test/client/types.test.ts'],
    [
      [
        'the main entry of the client needs tRPC',
        "export { createAuthClient } from './auth-client.ts'",
        "export { createAuthClient } from './auth-client.ts'\nexport { authLink } from './calls/auth-link.ts'",
      ],
    ],
  ),
]
