// A tool in a process of its own, for tests that kill it: restores its session and refreshes once. In the mode `die` it
// kills itself after the server has answered and before the answer is stored, and in the mode `keep` it stores the access
// token as well. Its clock is `laterMs` ahead.
import { createAuthClient } from '../../client/index.ts'
import { fileStore } from '../../client/credential/file-store.ts'

const [baseUrl, file, mode, laterMs] = process.argv.slice(2) as [
  string,
  string,
  'live' | 'die' | 'keep',
  string,
]
const now = Date.now
Date.now = () => now() + Number(laterMs)

const auth = createAuthClient({
  baseUrl,
  storage: fileStore(file, { keepAccessToken: mode === 'keep' }),
  async fetch(url, init) {
    const response = await fetch(url, init)
    if (mode !== 'die') return response
    await response.text()
    process.kill(process.pid, 'SIGKILL')
    return new Promise<never>(() => {})
  },
})
const session = await auth.restore()
console.log(JSON.stringify(session))
