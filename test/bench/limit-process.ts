import { generateKeyPairSync, sign } from 'node:crypto'
import { createServer, type ServerResponse } from 'node:http'
import { answerCalls } from '../support/child.ts'

// The least that a process with this HTTP parser and this signature can do: it answers each request with the bytes of a
// recorded answer under a new signature, and signs all answers of a turn of the event loop at once.

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })

export type Recorded = { readonly head: string; readonly body: string }

answerCalls({ listen })

function listen({ port, recorded }: { port: number; recorded: Recorded }): Promise<void> {
  const headers = headersOf(recorded.head)
  const [before, token, after] = splitAtToken(recorded.body)
  const input = Buffer.from(token.slice(0, token.lastIndexOf('.')))
  let waiting: ServerResponse[] = []

  function answerAll(): void {
    const turn = waiting
    waiting = []
    const signatures = turn.map(() => sign('sha256', input, privateKey))
    for (const [i, response] of turn.entries()) {
      // As long as the one it stands for, which is not in DER.
      const signature = signatures[i]!.toString('base64url').slice(0, 86)
      const body = `${before}${input.toString()}.${signature}${after}`
      response.writeHead(200, [...headers, 'content-length', String(body.length)])
      response.end(body)
    }
  }

  const server = createServer((request, response) => {
    request.resume().on('end', () => {
      if (waiting.push(response) === 1) setImmediate(answerAll)
    })
  })
  return new Promise((resolve) => server.listen(port, '127.0.0.1', resolve))
}

/** Names and values, without those that `node:http` adds itself. */
function headersOf(head: string): string[] {
  return head
    .split('\r\n')
    .slice(1)
    .map((line) => /^([^:]+): (.*)$/.exec(line)!)
    .filter(([, name]) => !/^(date|connection|keep-alive|content-length)$/i.test(name!))
    .flatMap(([, name, value]) => [name!, value!])
}

function splitAtToken(body: string): [before: string, token: string, after: string] {
  const [, before, token, after] = /^(.*"accessToken":")([^"]+)(".*)$/.exec(body)!
  return [before!, token!, after!]
}
