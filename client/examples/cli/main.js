#!/usr/bin/env node
// A tool whose user signs in once, and stays signed in on this machine.
import { homedir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { createAuthClient } from '@token-ledger/client'
import { fileStore } from '@token-ledger/client/file-store'

const usage = 'usage: example-cli login EMAIL <password | whoami | logout'
const { SERVICE_URL = 'http://localhost:3000', SESSION_FILE } = process.env

const auth = createAuthClient({
  baseUrl: SERVICE_URL,
  storage: fileStore(SESSION_FILE ?? join(homedir(), '.config/example-cli/session')),
})

const [command, email = ''] = process.argv.slice(2)
try {
  if (command === 'login') await login()
  else if (command === 'whoami') await whoami()
  else if (command === 'logout') await logout()
  else fail(usage)
} catch (error) {
  fail(error.message)
} finally {
  auth.dispose()
}

async function login() {
  const password = (await text(process.stdin)).trimEnd()
  const { user } = await auth.login({ email, password, deviceName: 'example-cli' })
  console.log(`Signed in as ${user.email}.`)
}

async function whoami() {
  const session = await auth.restore()
  if (session.status === 'unknown')
    return fail(`The service cannot be reached: ${session.problem}.`)
  if (session.status === 'signed-out') return fail(`Sign in first: ${session.reason}.`)
  const response = await auth.fetch(`${SERVICE_URL}/trpc/me`)
  const { result } = await response.json()
  console.log(result.data.user.email)
}

async function logout() {
  const { isConfirmed } = await auth.logout()
  console.log(
    isConfirmed ? 'Signed out.' : 'Signed out here. The service will be told with the next call.',
  )
}

function fail(message) {
  console.error(message)
  process.exitCode = 1
}
