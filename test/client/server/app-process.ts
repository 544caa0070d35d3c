// A team's app in a process of its own, which renders pages for the users of the service.
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { serverSession, type ServerSession } from '../../../client/server/index.ts'
import { answerCalls } from '../../support/child.ts'

answerCalls({
  async start({ baseUrl, secret }: { baseUrl: string; secret: string | string[] }) {
    const session = serverSession({
      baseUrl,
      cookie: { secret },
      addressOf: ({ headers }) => headers.get('x-real-ip'),
    })
    const server = createServer((incoming, outgoing) => void serve(session, incoming, outgoing))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  },
})

async function serve(
  session: ServerSession,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  const answer = await answerTo(session, await toRequest(incoming))
  outgoing.statusCode = answer.status
  answer.headers.forEach((value, name) => name === 'set-cookie' || outgoing.setHeader(name, value))
  outgoing.setHeader('set-cookie', answer.headers.getSetCookie())
  outgoing.end(await answer.text())
}

async function answerTo(session: ServerSession, request: Request): Promise<Response> {
  const { pathname } = new URL(request.url)
  switch (pathname) {
    case '/page': {
      const current = await session.from(request)
      return session.apply(Response.json(current), current)
    }
    case '/component':
      return Response.json(await session.from(request, { readOnly: true }))
    case '/sign-in': {
      const current = await session.signIn(request, (await request.json()) as never)
      return session.apply(Response.json(current), current)
    }
    case '/sign-out': {
      const ended = await session.signOut(request)
      return session.apply(Response.json(ended), ended)
    }
    default:
      return session.handle(request)
  }
}

async function toRequest(incoming: IncomingMessage): Promise<Request> {
  const { method = 'GET', url, headers } = incoming
  const body = Buffer.concat(await incoming.toArray())
  return new Request(`http://${headers.host}${url}`, {
    method,
    headers: headers as Record<string, string>,
    ...(body.length > 0 && { body }),
  })
}
