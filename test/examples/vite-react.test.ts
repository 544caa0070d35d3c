import { freePort } from '../support/server.ts'
import { installExample } from './project.ts'
import { startService } from './service.ts'
import { tellStory } from './story.ts'

tellStory('vite-react', async () => {
  const service = await startService({ ACCESS_TOKEN_AUDIENCES: 'https://notes.example.com' })
  const project = await installExample('vite-react')
  const [notesPort, pagePort] = [await freePort(), await freePort()].map(String)
  const notesUrl = `http://localhost:${notesPort}`
  const url = `http://localhost:${pagePort}`
  await project.run('tsc', [])
  await project.run('vite', ['build'], { VITE_AUTH_URL: service.url })
  await project.serve(['--import', 'tsx', 'service/main.ts'], {
    url: notesUrl,
    env: { AUTH_URL: service.url, PORT: notesPort! },
  })
  await project.serve(['node_modules/vite/bin/vite.js', 'preview', '--port', pagePort!], {
    url,
    env: { NOTES_URL: notesUrl },
  })
  let count = 0
  return {
    url,
    service,
    async call(page) {
      const text = `note ${(count += 1)}`
      await page.fill('[name=text]', text)
      await page.getByRole('button', { name: 'Add' }).click()
      await page.getByRole('listitem').filter({ hasText: text }).waitFor()
    },
    async [Symbol.asyncDispose]() {
      await project[Symbol.asyncDispose]()
      await service[Symbol.asyncDispose]()
    },
  }
})
