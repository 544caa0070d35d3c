import { freePort } from '../support/server.ts'
import { installExample } from './project.ts'
import { startService } from './service.ts'
import { refreshesList, tellStory } from './story.ts'
import { neverReuse } from './two-servers.ts'

const start = async () => {
  const service = await startService({})
  const project = await installExample('sveltekit')
  const env = {
    AUTH_URL: service.url,
    SESSION_SECRET: 'a secret of the app, 32 characters or more',
  }
  await project.run('vite', ['build'], env)
  // Also of what is in .svelte files. It needs the types that the build has made.
  await project.run('svelte-check', ['--fail-on-warnings'])
  const serve = async () => {
    const port = String(await freePort())
    const url = `http://localhost:${port}`
    await project.serve(['build'], { url, env: { ...env, PORT: port, ORIGIN: url } })
    return url
  }
  const urls = [await serve(), await serve()] as const
  return {
    url: urls[0],
    urls,
    service,
    call: refreshesList,
    async [Symbol.asyncDispose]() {
      await project[Symbol.asyncDispose]()
      await service[Symbol.asyncDispose]()
    },
  }
}

tellStory('sveltekit', start, neverReuse)
