import { useMutation } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { Field } from '../../parts/field.tsx'
import { formText } from '../../parts/form-text.ts'
import { Section } from '../../parts/screen.tsx'
import { Done, Failed } from '../../parts/states.tsx'
import { words } from '../../words/ledger.ts'
import { downloadExport } from './download-export.ts'

/** Saves the export that the command line writes, of a period or of everything. */
export function Export(): ReactNode {
  const download = useMutation({
    mutationFn: (form: FormData) =>
      downloadExport({ from: formText(form, 'from'), to: formText(form, 'to') }),
  })
  return (
    <Section title={words.export}>
      <p className="lead">{words.exportLead}</p>
      <form
        className="filters"
        onSubmit={(event) => {
          event.preventDefault()
          download.mutate(new FormData(event.currentTarget))
        }}
      >
        <Field label={words.fromMoment}>
          {(props) => <input {...props} name="from" type="datetime-local" />}
        </Field>
        <Field label={words.toMoment}>
          {(props) => <input {...props} name="to" type="datetime-local" />}
        </Field>
        <button type="submit" disabled={download.isPending}>
          {download.isPending ? words.downloading : words.download}
        </button>
      </form>
      {download.error !== null && <Failed error={download.error} />}
      {download.isSuccess && <Done>{words.downloaded}</Done>}
    </Section>
  )
}
