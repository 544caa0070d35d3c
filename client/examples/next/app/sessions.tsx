import 'server-only'
import { authUrl } from '../session.ts'

/** The devices on which the person is signed in, as the service lists them for the access token. */
export async function Sessions({ accessToken }: { accessToken: string }) {
  const response = await fetch(`${authUrl}/trpc/sessions.list`, {
    headers: { authorization: `Bearer ${accessToken}` },
    cache: 'no-store',
  }).catch(() => null)
  if (response === null || !response.ok) return <p role="alert">Please try again.</p>
  const { result } = (await response.json()) as { result: { data: { items: readonly Listed[] } } }
  return (
    <>
      <p>As of {new Date().toISOString()}</p>
      <ul>
        {result.data.items.map(({ familyId, createdAt, userAgent }) => (
          <li key={familyId}>
            {createdAt}, {userAgent}
          </li>
        ))}
      </ul>
    </>
  )
}

type Listed = { familyId: string; createdAt: string; userAgent: string | null }
