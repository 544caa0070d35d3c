import { request } from 'node:http'
import type { IncomingHttpHeaders } from 'node:http'

export type RawAnswer = {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  readonly reason: string | undefined
}

/** Sends a request exactly as given, because `fetch` adds a content type and refuses some headers. */
export function raw(
  url: string,
  options: {
    method?: string
    headers?: Record<string, string | string[]>
    body?: string | Buffer
    /** Hangs up on an answer that has not ended by then. */
    leaveAfterMs?: number
  } = {},
): Promise<RawAnswer> {
  const { method = 'POST', headers = {}, body, leaveAfterMs } = options
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, headers }, (response) => {
      const chunks: Buffer[] = []
      const leaving =
        leaveAfterMs === undefined ? undefined : setTimeout(() => response.destroy(), leaveAfterMs)
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('close', () => {
        clearTimeout(leaving)
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
