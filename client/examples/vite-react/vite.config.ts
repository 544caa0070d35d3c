import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

export default defineConfig({
  plugins: [react()],
  // The page and its service have one origin, as behind a reverse proxy in production.
  server: { proxy: { '/notes': process.env.NOTES_URL ?? 'http://localhost:4000' } },
})
