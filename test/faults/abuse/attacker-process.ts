import { Agent, request } from 'node:http'
import { answerCalls } from '../../support/child.ts'
import { attacks, type Means, type Sent } from './attacks.ts'

// One client that sends at a steady rate, whatever becomes of the answers.

/** Longer than the server keeps any request waiting. */
const patienceMs = 20_000
const tickMs = 5
const agent = new Agent({ keepAlive: true, maxSockets: 256 })

export type Order = {
  readonly url: string
  readonly title: string
  readonly perSecond: number
  readonly means: Means
}

/** Ends an attack and gives the number of answers by status, or `none`. */
let end: () => Promise<Record<string, number>>

answerCalls({ begin, end: () => end() })

function begin({ url, title, perSecond, means }: Order): void {
  const next = attacks.find((attack) => attack.title === title)!.prepare(means)
  const statuses: Record<string, number> = {}
  const going = new Set<Promise<void>>()
  const startedAt = performance.now()
  let sent = 0
  const timer = setInterval(() => {
    const due = ((performance.now() - startedAt) / 1000) * perSecond
    while (sent < due) {
      const answered = send(url, next(sent++)).then((status) => {
        statuses[status] = (statuses[status] ?? 0) + 1
        going.delete(answered)
      })
      going.add(answered)
    }
  }, tickMs)
  end = async () => {
    clearInterval(timer)
    await Promise.all(going)
    return statuses
  }
}

function send(url: string, { path, from, accessToken, json, accept }: Sent): Promise<string> {
  const body = json === undefined ? undefined : JSON.stringify(json)
  const headers = {
    'x-forwarded-for': from,
    ...(accessToken !== undefined && { authorization: `Bearer ${accessToken}` }),
    ...(body !== undefined && { 'content-type': 'application/json' }),
  }
  const method = body === undefined ? 'GET' : 'POST'
  return new Promise((resolve) => {
    const asked = request(url + path, { agent, method, headers, timeout: patienceMs }, (answer) => {
      let text = ''
      answer.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
      answer.on('error', () => resolve('none'))
      answer.on('end', () => {
        if (answer.statusCode === 200) accept?.(JSON.parse(text).result?.data)
        resolve(String(answer.statusCode))
      })
    })
    asked.on('timeout', () => asked.destroy())
    asked.on('error', () => resolve('none'))
    asked.end(body)
  })
}
