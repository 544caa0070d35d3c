// A tool in a process of its own, for tests that kill it: signs in or takes up its session, and refreshes once. Told to
// die, it does so when the server has answered and nothing is stored yet.
import { createAuthClient } from '../../client/index.ts'
import { fileStore } from '../../client/credential/file-store.ts'

const [baseUrl, file, mode] = process.argv.slice(2) as [string, string, 'live' | 'die']

const auth = createAuthClient({
  baseUrl,
  storage: fileStore(file),
  async fetch(url, init) {
    const response = await fetch(url, init)
    if (mode === 'live') return response
    await response.text()
    process.kill(process.pid, 'SIGKILL')
    return new Promise<never>(() => {})
  },
})
const session = await auth.restore()
console.log(JSON.stringify(session))
