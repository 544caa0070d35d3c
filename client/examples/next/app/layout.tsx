import { headers } from 'next/headers'
import type { ReactNode } from 'react'
import { session } from '../session.ts'
import { Auth } from './auth.tsx'

export const metadata = { title: 'Sessions' }

export default async function Layout({ children }: { children: ReactNode }) {
  const { user } = await session.from({ headers: await headers() }, { readOnly: true })
  return (
    <html lang="en">
      <body>
        <Auth user={user}>{children}</Auth>
      </body>
    </html>
  )
}
