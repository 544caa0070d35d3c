import { expect, test } from 'vitest'
import { readEvents } from '../../client/calls/event-stream.ts'

const stream = [
  ': a comment',
  'data: one',
  '',
  'id: 7',
  'event: named',
  'data:two',
  'data: lines: of data',
  '',
  'retry: 250',
  'retry: soon',
  'id: no\0id',
  'data',
  '',
  'event: without data',
  '',
  'data: Grüße',
  '',
  'data: cut off',
]

const events = [
  { type: 'message', data: 'one', lastEventId: '5' },
  { type: 'named', data: 'two\nlines: of data', lastEventId: '7' },
  { type: 'message', data: '', lastEventId: '7' },
  { type: 'message', data: 'Grüße', lastEventId: '7' },
]

test.each([
  ['LF', '\n'],
  ['CRLF', '\r\n'],
  ['CR', '\r'],
])('events are read as HTML says, with %s, wherever the stream is cut', async (_name, lineEnd) => {
  const bytes = new TextEncoder().encode(stream.join(lineEnd))
  for (const size of [1, 2, 3, 7, bytes.length]) {
    const waits: number[] = []
    const found = []
    const options = { lastEventId: '5', onRetry: (ms: number) => void waits.push(ms) }
    for await (const event of readEvents(inPieces(bytes, size), options)) found.push(event)
    expect(found).toEqual(events)
    expect(waits).toEqual([250])
  }
})

function inPieces(bytes: Uint8Array<ArrayBuffer>, size: number): ReadableStream<Uint8Array> {
  let at = 0
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) return controller.close()
      controller.enqueue(bytes.slice(at, (at += size)))
    },
  })
}
