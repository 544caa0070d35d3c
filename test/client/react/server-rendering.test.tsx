import { QueryClient } from '@tanstack/react-query'
import { build } from 'esbuild'
import { gzipSync } from 'node:zlib'
import { renderToString } from 'react-dom/server'
import { expect, test } from 'vitest'
import { createAuthClient } from '../../../client/index.ts'
import { useUser } from '../../../client/react/index.ts'
import { App } from './app.tsx'

const baseUrl = 'https://auth.example.com'

test('a server without a window renders the fallback, or the user whom it found', () => {
  expect(globalThis).not.toHaveProperty('window')
  const queries = new QueryClient()
  const unknown = createAuthClient({ baseUrl, fetch: () => expect.fail('no request is sent') })
  const html = renderToString(<App auth={unknown} queries={queries} />)
  expect(html).toContain('Loading …')
  expect(html).not.toContain('data-status')

  const user = { id: '1', email: 'ada@example.com', role: 'user' } as const
  const known = createAuthClient({ baseUrl, fetch: unknown.settings.fetch, initial: { user } })
  const page = renderToString(<App auth={known} queries={queries} />)
  expect(page).toContain('ada@example.com')
  expect(page).not.toContain('Loading …')
  for (const auth of [unknown, known]) auth.dispose()
})

test('a hook outside of the provider says what is missing', () => {
  const Lost = () => useUser()?.email
  expect(() => renderToString(<Lost />)).toThrow('inside of <AuthProvider auth={…}>')
})

test('the entry needs React alone, takes at most 1.1 kB gzipped, and begins with "use client"', async () => {
  const { outputFiles, metafile } = await build({
    entryPoints: ['client/react/index.ts'],
    bundle: true,
    minify: true,
    packages: 'external',
    platform: 'browser',
    format: 'esm',
    write: false,
    metafile: true,
  })
  const [file] = outputFiles
  expect(file?.text.startsWith('"use client"')).toBe(true)
  expect(gzipSync(file!.contents).length).toBeLessThanOrEqual(1_100)
  const packages = Object.values(metafile.inputs)
    .flatMap(({ imports }) => imports)
    .filter(({ external }) => external)
  expect([...new Set(packages.map(({ path }) => path))]).toEqual(['react'])
})
