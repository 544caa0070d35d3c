import type { ReactNode } from 'react'
import { words } from '../../words/incidents.ts'
import type { Incident } from './incident.ts'

/** What speaks for a theft and what for a broken client, as the service sees it. */
export function Signs({ incident: { kind, signs } }: { readonly incident: Incident }): ReactNode {
  const theft: string[] = signs.theft.map((sign) => words.signs[sign])
  const client: string[] = signs.brokenClient.map((sign) => words.signs[sign])
  if (kind === 'replays_elsewhere') {
    theft.unshift(words.keptStep)
    client.unshift(words.relay)
  }
  return (
    <>
      <div className="columns">
        <Side title={words.forTheft} sentences={theft} />
        <Side title={words.forClient} sentences={client} />
      </div>
      <p className="hint">{words.noProof}</p>
    </>
  )
}

function Side({
  title,
  sentences,
}: {
  readonly title: string
  readonly sentences: readonly string[]
}): ReactNode {
  return (
    <section>
      <h4>{title}</h4>
      {sentences.length === 0 ? (
        <p className="faint">{words.nothing}</p>
      ) : (
        <ul>
          {sentences.map((sentence) => (
            <li key={sentence}>{sentence}</li>
          ))}
        </ul>
      )}
    </section>
  )
}
