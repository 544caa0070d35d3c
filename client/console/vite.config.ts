import { defineConfig } from 'vite'

/** For `npm run console`: the service runs beside the development server, with its origin in ALLOWED_ORIGINS. */
const service = 'http://localhost:3000'

export default defineConfig({
  // Where `server/http/routes/console.ts` serves the built files.
  base: '/console/',
  build: {
    emptyOutDir: true,
    // The Content-Security-Policy allows no `data:` URL.
    assetsInlineLimit: 0,
    // Every browser that has modules preloads them.
    modulePreload: { polyfill: false },
    // 'use client' is for servers that render React.
    rolldownOptions: { checks: { moduleLevelDirective: false } },
  },
  server: { proxy: { '/auth': service, '/trpc': service } },
})
