export type SseMessage = {
  readonly event: string
  readonly id: string | null
  /** Parsed JSON. */
  readonly data: unknown
}

/** Messages of the feed have about 200 characters. */
const maxMessageLength = 16_384

/**
 * Reads server-sent events whose data is one line of JSON, without comments. Cancelling `reader` ends it.
 *
 * @param onChunk called whenever data arrives
 * @throws for a message that is too long or not JSON
 */
export async function* readMessages(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  onChunk: () => void,
): AsyncGenerator<SseMessage, void> {
  const decoder = new TextDecoder()
  let text = ''
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    onChunk()
    text += decoder.decode(value, { stream: true })
    const blocks = text.split('\n\n')
    text = blocks.pop() ?? ''
    if (text.length > maxMessageLength) throw new Error('the feed sent a message that is too long')
    for (const block of blocks) {
      const message = parse(block)
      if (message !== null) yield message
    }
  }
}

function parse(block: string): SseMessage | null {
  const fields = new Map(
    block.split('\n').map((line) => {
      const [name = '', value = ''] = line.split(/: ?(.*)/s)
      return [name, value]
    }),
  )
  const data = fields.get('data')
  if (data === undefined) return null
  return {
    event: fields.get('event') ?? 'message',
    id: fields.get('id') ?? null,
    data: JSON.parse(data) as unknown,
  }
}
