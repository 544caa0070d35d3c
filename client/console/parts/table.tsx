import type { ReactNode } from 'react'

export type Column<Row> = {
  /** Also stands before each value where the screen is too narrow for a table. */
  readonly title: string
  readonly cell: (row: Row) => ReactNode
  /** Numbers stand at the right, each digit below the other. */
  readonly isNumber?: boolean
  /** As wide as a checkbox. */
  readonly isNarrow?: boolean
  /** The cell that names the row. */
  readonly isHeader?: boolean
}

/**
 * A table, which becomes a list of cards on narrow screens. The roles are written out, because browsers drop those of a
 * table that is not displayed as one.
 */
export function Table<Row>({
  caption,
  columns,
  rows,
  keyOf,
}: {
  /** For screen readers; a heading says the same to the eye. */
  readonly caption: string
  readonly columns: readonly Column<Row>[]
  readonly rows: readonly Row[]
  readonly keyOf: (row: Row) => string
}): ReactNode {
  return (
    <table role="table">
      <caption className="for-readers">{caption}</caption>
      <thead role="rowgroup">
        <tr role="row">
          {columns.map((column) => (
            <th key={column.title} role="columnheader" scope="col" className={classOf(column)}>
              {column.title}
            </th>
          ))}
        </tr>
      </thead>
      <tbody role="rowgroup">
        {rows.map((row) => (
          <tr key={keyOf(row)} role="row">
            {columns.map((column) => (
              <Cell key={column.title} column={column} row={row} />
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  )
}

function Cell<Row>({
  column,
  row,
}: {
  readonly column: Column<Row>
  readonly row: Row
}): ReactNode {
  const { title, cell, isHeader = false } = column
  const content = <div className="cell">{cell(row)}</div>
  return isHeader ? (
    <th role="rowheader" scope="row" data-title={title} className={classOf(column)}>
      {content}
    </th>
  ) : (
    <td role="cell" data-title={title} className={classOf(column)}>
      {content}
    </td>
  )
}

function classOf(column: Pick<Column<never>, 'isNumber' | 'isNarrow' | 'isHeader'>) {
  if (column.isNumber) return 'number'
  if (column.isNarrow) return 'narrow'
  return column.isHeader ? 'wide' : undefined
}
