import { useInfiniteQuery } from '@tanstack/react-query'
import { useState, type ReactNode } from 'react'
import { Field } from '../../parts/field.tsx'
import { formText } from '../../parts/form-text.ts'
import { pages, Pages } from '../../parts/more.tsx'
import { Screen, Section } from '../../parts/screen.tsx'
import { Empty } from '../../parts/states.tsx'
import { trpc } from '../../service.ts'
import { screenNames } from '../../words/common.ts'
import { words } from '../../words/users.ts'
import { CreateUser } from './create-user.tsx'
import { UserTable } from './user-table.tsx'

/** Finds users by the beginning of their address, and creates them. */
export function Users(): ReactNode {
  const [email, setEmail] = useState('')
  const query = useInfiniteQuery({
    ...pages,
    queryKey: ['admin', 'users', 'list', email],
    queryFn: ({ pageParam }) =>
      trpc.admin.users.list.query({
        ...(email !== '' && { email }),
        ...(pageParam !== undefined && { cursor: pageParam }),
      }),
  })
  return (
    <Screen title={screenNames.users} actions={<CreateUser />}>
      <form
        role="search"
        className="filters"
        onSubmit={(event) => {
          event.preventDefault()
          setEmail(formText(new FormData(event.currentTarget), 'email').trim())
        }}
      >
        <Field label={words.find}>
          {(props) => <input {...props} name="email" maxLength={254} autoComplete="off" />}
        </Field>
        <button type="submit">{words.search}</button>
      </form>
      <Section title={words.caption}>
        <Pages query={query} empty={<Empty>{words.none}</Empty>}>
          {(users) => <UserTable users={users} />}
        </Pages>
      </Section>
    </Screen>
  )
}
