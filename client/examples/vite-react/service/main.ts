// The team's own service. It accepts access tokens for its audience, and asks token-ledger for the keys alone.
import { createVerifier } from '@token-ledger/verifier'
import { trpcVerifier } from '@token-ledger/verifier/trpc'
import { TRPCError } from '@trpc/server'
import { createHTTPServer } from '@trpc/server/adapters/standalone'
import { router } from './router.ts'

const { AUTH_URL = 'http://localhost:3000', PORT = '4000' } = process.env

const verifier = createVerifier({ issuer: AUTH_URL, audience: 'https://notes.example.com' })

createHTTPServer({ router, basePath: '/notes/', ...trpcVerifier(verifier, TRPCError) }).listen(
  Number(PORT),
)
