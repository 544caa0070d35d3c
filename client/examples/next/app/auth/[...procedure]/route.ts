import { session } from '../../../session.ts'

/** Answers the client in the page. */
export const POST = (request: Request): Promise<Response> => session.handle(request)
