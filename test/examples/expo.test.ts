import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { runsLong } from '../support/long.ts'
import { makeUser, testPassword } from '../support/users.ts'
import { waitFor } from '../support/wait.ts'
import { bundleApp, openApp, type App } from './expo/app.ts'
import { installExample } from './project.ts'
import { startService, type ExampleService } from './service.ts'

/** What the compiler reads. Expo itself, a peer of its packages, is large and has no type that the example names. */
const typed = [
  '--legacy-peer-deps',
  '@types/node@20.19.43',
  '@types/react@19.3.0',
  'expo-secure-store@57.0.4',
  'react@19.3.1',
  'react-native@0.88.1',
  'react-native-get-random-values@2.0.0',
  'typescript@5.9.3',
]

describe.runIf(runsLong)(
  'client/examples/expo, with what React Native has',
  { timeout: 600_000 },
  () => {
    let service: ExampleService
    let bundle: string
    beforeAll(async () => {
      service = await startService({})
      await using project = await installExample('expo', [
        'react@19.3.1',
        'react-test-renderer@19.3.1',
      ])
      bundle = await bundleApp(project.folder, service.url)
    }, 600_000)
    afterAll(() => service?.[Symbol.asyncDispose]())

    test('has the right types', async () => {
      await using project = await installExample('expo', typed)
      await project.run('tsc', ['--project', '.'])
    })

    test('signs in, calls, and goes on after its access token has expired', async () => {
      await using device = await begin()
      const { app, email } = device
      await signIn(app, email, 'wrong')
      await app.shows(/password is wrong/)
      await signIn(app, email)
      await call(app)
      await waitFor(async () => (await service.rotationsOf(email)) >= 2)
      await call(app)
    })

    test('is signed in when it is started again, and waits while there is no network', async () => {
      await using device = await begin()
      const { app, email } = device
      await signIn(app, email)
      await app.shows(email)
      await device.restart().shows(email)
      await service.whileLost('drop-request', async () => {
        await device.restart().shows('Waiting for the network')
      })
      await device.app.shows(email)
      await call(device.app)
    })

    test('stays signed in while the service restarts, and while there is no network', async () => {
      await using device = await begin()
      const { app, email } = device
      await signIn(app, email)
      await app.shows(email)
      await service.restart()
      await call(app)
      await service.whileLost('drop-request', async () => {
        expect(app.text()).toContain(email)
      })
      await waitFor(async () => {
        await app.press('Count my sessions')
        await app.shows(/signed in 1 times|Please try again/)
        return app.text().includes('signed in 1 times')
      })
    })

    test('is signed out by a sign-out on another device, and tells of a session that was revoked', async () => {
      await using device = await begin()
      const { app, email } = device
      await signIn(app, email)
      await app.shows(email)
      await service.signOutElsewhere(email)
      await waitFor(() => !app.text().includes(email))
      await signIn(app, email)
      await app.shows(email)
      await service.revoke(email, 'a lost phone')
      await app.shows(/Your session was ended.* [\da-f-]{36}:\d+/)
    })

    test('shows another person nothing of the first, and stores nothing once signed out', async () => {
      await using device = await begin()
      const { app, email } = device
      const other = await makeUser(service.database.url)
      await signIn(app, email)
      await call(app)
      await app.press('Sign out')
      await waitFor(() => !app.text().includes(email))
      await waitFor(() => device.keychain.size === 0)
      await signIn(app, other.email)
      await app.shows(other.email)
      expect(app.text()).not.toContain('signed in 1 times')
    })

    test('none of this was a reuse', async () => {
      expect(await service.countOf('reuse_detected')).toBe(0)
    })

    /** A new user with a device, on which the app was never started. */
    async function begin() {
      const { email } = await makeUser(service.database.url)
      const keychain = new Map<string, string>()
      const device = {
        email,
        keychain,
        app: openApp(bundle, keychain),
        restart() {
          device.app.close()
          device.app = openApp(bundle, keychain)
          return device.app
        },
        async [Symbol.asyncDispose]() {
          device.app.close()
        },
      }
      return device
    }
  },
)

async function signIn(app: App, email: string, password = testPassword): Promise<void> {
  await app.type('E-mail', email)
  await app.type('Password', password)
  await app.press('Sign in')
}

async function call(app: App): Promise<void> {
  await app.press('Count my sessions')
  await app.shows('You are signed in 1 times.')
}
