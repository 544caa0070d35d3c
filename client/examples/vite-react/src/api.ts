import { QueryClient } from '@tanstack/react-query'
import { connectQueryClient } from '@token-ledger/client/react'
import { authLink } from '@token-ledger/client/trpc'
import { createTRPCClient } from '@trpc/client'
import { createTRPCOptionsProxy } from '@trpc/tanstack-react-query'
import type { NotesRouter } from '../service/router.ts'
import { auth } from './auth.ts'

const client = createTRPCClient<NotesRouter>({ links: [authLink(auth, { url: '/notes' })] })

export const queryClient = new QueryClient()
connectQueryClient(auth, queryClient)

export const notes = createTRPCOptionsProxy<NotesRouter>({ client, queryClient })
