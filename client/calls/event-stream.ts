/** An event of a stream (HTML, "Server-sent events"). */
export type StreamEvent = {
  readonly type: string
  readonly data: string
  /** The id of the newest event that had one: where the next connection goes on. */
  readonly lastEventId: string
}

/** Reads the events of an answer. @param options.onRetry called with each wait that the server asks for, in ms */
export async function* readEvents(
  body: ReadableStream<Uint8Array>,
  options: { readonly lastEventId: string; readonly onRetry: (ms: number) => void },
): AsyncGenerator<StreamEvent> {
  let id = options.lastEventId
  let type = 'message'
  let data: string[] = []
  for await (const line of linesOf(body)) {
    const [, name, value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? []
    if (line === '') {
      if (data.length > 0) yield { type, data: data.join('\n'), lastEventId: id }
      type = 'message'
      data = []
    } else if (name === 'event') type = value
    else if (name === 'data') data.push(value)
    else if (name === 'id' && !value.includes('\0')) id = value
    else if (name === 'retry' && /^\d+$/.test(value)) options.onRetry(Number(value))
  }
}

async function* linesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  let rest = ''
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      // The last line may go on, and a \r at its end may be half of a \r\n.
      const lines = (rest + decoder.decode(value, { stream: true })).split(/\r\n|\n|\r(?!$)/)
      rest = lines.pop() ?? ''
      yield* lines
    }
  } finally {
    await reader.cancel()
  }
}
