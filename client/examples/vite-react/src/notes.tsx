import { useMutation, useQuery } from '@tanstack/react-query'
import { useAuth, useUser } from '@token-ledger/client/react'
import { notes, queryClient } from './api.ts'

const list = notes.list.queryFilter()

async function refetch() {
  // The first answer may be on its way from before the change, and would count as the new one.
  await queryClient.cancelQueries(list)
  await queryClient.invalidateQueries(list)
}

export function Notes() {
  const auth = useAuth()
  const user = useUser()
  const { data = [], error } = useQuery(notes.list.queryOptions())
  const add = useMutation(notes.add.mutationOptions({ onSuccess: refetch }))
  const problem = add.error ?? error

  return (
    <>
      <h1>Notes of {user?.email}</h1>
      <ul>
        {data.map((text, i) => (
          <li key={i}>{text}</li>
        ))}
      </ul>
      <form action={(form) => add.mutate(String(form.get('text')))}>
        <input name="text" placeholder="A note" required />
        <button>Add</button>
      </form>
      {problem !== null && <p role="alert">{problem.message}</p>}
      <button onClick={() => void auth.logout()}>Sign out</button>
    </>
  )
}
