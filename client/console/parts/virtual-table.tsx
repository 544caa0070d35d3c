import { useVirtualizer } from '@tanstack/react-virtual'
import { useRef, type ReactNode } from 'react'
import type { Column } from './table.tsx'

/** Of two lines. Rather too much: the end of the list is then where the key End leads. */
const expectedRowHeight = 64

/**
 * A table of any length in a box that scrolls: only the rows in view are in the document. Its size in rows and the
 * number of each row are written out for screen readers.
 */
export function VirtualTable<Row>({
  caption,
  columns,
  rows,
  keyOf,
}: {
  readonly caption: string
  readonly columns: readonly Column<Row>[]
  readonly rows: readonly Row[]
  readonly keyOf: (row: Row) => string
}): ReactNode {
  const box = useRef<HTMLDivElement>(null)
  const virtualizer = useVirtualizer({
    count: rows.length,
    getScrollElement: () => box.current,
    getItemKey: (index) => {
      const row = rows[index]
      return row === undefined ? index : keyOf(row)
    },
    estimateSize: () => expectedRowHeight,
    overscan: 8,
  })
  return (
    <div ref={box} className="virtual" tabIndex={0} role="region" aria-label={caption}>
      <div role="table" aria-label={caption} aria-rowcount={rows.length + 1}>
        <div role="rowgroup" className="virtual-head">
          <div role="row" aria-rowindex={1} className="virtual-row">
            {columns.map(({ title }) => (
              <div key={title} role="columnheader">
                {title}
              </div>
            ))}
          </div>
        </div>
        <div
          role="rowgroup"
          className="virtual-body"
          style={{ height: virtualizer.getTotalSize() }}
        >
          {virtualizer.getVirtualItems().map(({ index, key, start }) => {
            const row = rows[index]
            if (row === undefined) return null
            return (
              <div
                key={key}
                ref={virtualizer.measureElement}
                data-index={index}
                role="row"
                aria-rowindex={index + 2}
                className="virtual-row"
                style={{ transform: `translateY(${start}px)` }}
              >
                {columns.map(({ title, cell, isHeader }) => (
                  <div key={title} role={isHeader ? 'rowheader' : 'cell'} data-title={title}>
                    {cell(row)}
                  </div>
                ))}
              </div>
            )
          })}
        </div>
      </div>
    </div>
  )
}
