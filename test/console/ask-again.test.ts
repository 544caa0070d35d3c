import { QueryClient, QueryObserver } from '@tanstack/react-query'
import { expect, test } from 'vitest'
import { askAgain } from '../../client/console/parts/ask-again.ts'

test('a first answer from before a change is not taken for the new one', async () => {
  const client = new QueryClient()
  const answers: ((value: string) => void)[] = []
  const observer = new QueryObserver(client, {
    queryKey: ['admin', 'users'],
    queryFn: () => new Promise<string>((resolve) => answers.push(resolve)),
  })
  const stop = observer.subscribe(() => {})
  const asked = askAgain(client, ['admin'])
  answers[0]!('before the change')
  await expect.poll(() => answers.length).toBe(2)
  answers[1]!('after it')
  await asked
  expect(client.getQueryData(['admin', 'users'])).toBe('after it')
  stop()
})
