import { request } from 'node:http'
import type { IncomingHttpHeaders } from 'node:http'

export type RawAnswer = {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  readonly reason: string | undefined
}

/** A request exactly as given, over a socket: `fetch` adds a content type and refuses some headers. */
export function raw(
  url: string,
  options: {
    method?: string
    headers?: Record<string, string | string[]>
    body?: string | Buffer
  } = {},
): Promise<RawAnswer> {
  const { method = 'POST', headers = {}, body } = options
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, headers }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString()
        const { statusCode = 0, headers: answered } = response
        resolve({ status: statusCode, headers: answered, text, reason: reasonIn(text) })
      })
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

function reasonIn(text: string): string | undefined {
  try {
    return JSON.parse(text)?.error?.data?.reason
  } catch {
    return undefined
  }
}
