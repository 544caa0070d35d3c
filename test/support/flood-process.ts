/*
 * Sends the same request again and again at a steady rate, whatever becomes of the answers, until stdin ends.
 * Then prints how many answers had which status, as JSON. Arguments: the URL, the access token, requests a second.
 */
import { Agent, request } from 'node:http'

const [url = '', token = '', perSecond = '50'] = process.argv.slice(2)
const agent = new Agent({ keepAlive: true, maxSockets: 200 })
const statuses: Record<string, number> = {}
const count = (status: string) => (statuses[status] = (statuses[status] ?? 0) + 1)

function send(): void {
  const headers = { authorization: `Bearer ${token}` }
  request(url, { agent, headers }, (answer) => {
    count(String(answer.statusCode))
    answer.resume()
  })
    .on('error', () => count('none'))
    .end()
}

const timer = setInterval(send, 1000 / Number(perSecond))
process.stdin.resume().on('end', () => {
  clearInterval(timer)
  process.stdout.write(JSON.stringify(statuses), () => process.exit())
})
