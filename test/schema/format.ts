/**
 * Lays out SQL that Postgres printed from its catalogue: lower case, one clause a line, without most of the casts and
 * parentheses that Postgres adds. A test runs the result, so it need not be right for all SQL, only for ours.
 */
export function format(sql: string, indent = 0): string {
  return layout(parse(simplify(sql)), indent)
}

/** As `format`, with a line break before each of the words. */
export function formatLines(sql: string, words: readonly string[]): string {
  const parts = sql.split(new RegExp(`(?=${words.join('|')})`))
  return parts.map((part) => format(part)).join('\n')
}

const width = 100

/** A token; one that opens a pair (parentheses, brackets, `case` and `end`) has the tokens between them. */
type Node = {
  readonly text: string
  /** No space before it. */
  readonly isGlued: boolean
  readonly items?: readonly Node[]
}

const literalOrOther = /('(?:[^']|'')*')(?:::(?:text|name)\b)?|"[^"]*"|[^'"]+/g
const token = /\s*('(?:[^']|'')*'|"[^"]*"|[()[\],]|[^\s()[\],'"]+)/y
const closing: Record<string, string> = { '(': ')', '[': ']', case: 'end' }

function simplify(sql: string): string {
  return sql
    .replaceAll(literalOrOther, (text, literal?: string) => {
      if (literal !== undefined) return literal
      if (text.startsWith('"')) return text
      return text
        .toLowerCase()
        .replaceAll('timestamp with time zone', 'timestamptz')
        .replaceAll('character varying', 'varchar')
        .replaceAll(/\((\d+)\)::numeric/g, '$1')
        .replaceAll(/\selse null::\w+(?=\s+end)/g, '')
    })
    .replaceAll(/= any \(array\[([^\]]*)\]\)/g, 'in ($1)')
    .replaceAll(/(?<= [=<>]{1,2} )\((\S+ [-+] \S+)\)/g, '$1')
    .replaceAll(/(?<= (?:and|or|when|then) )\((\S+ in \([^()]*\))\)/g, '$1')
}

function parse(sql: string): readonly Node[] {
  token.lastIndex = 0
  const until = (close: string | undefined): Node[] => {
    const nodes: Node[] = []
    for (let match = token.exec(sql); match !== null; match = token.exec(sql)) {
      const text = match[1]!
      if (text === close) break
      const isGlued = match[0] === text && nodes.length > 0
      const end = closing[text]
      nodes.push({ text, isGlued, ...(end !== undefined && { items: until(end) }) })
    }
    return withoutParentheses(nodes)
  }
  return until(undefined)
}

/** `((a || b) || c)` as `(a || b || c)`, and `f((a))` as `f(a)`. */
function withoutParentheses(nodes: readonly Node[]): Node[] {
  const isChain = (node: Node) => isPlain(node) && split(node.items ?? [], ['||']).length > 1
  return nodes
    .flatMap((node, i) =>
      isChain(node) && nodes[i + 1]?.text === '||' && nodes[i - 1]?.text !== '||'
        ? (node.items ?? [])
        : [node],
    )
    .map((node) => {
      if (node.text !== '(' || node.items === undefined) return node
      const parts = split(node.items, [','])
      const bare = parts.map((part) => {
        const [only] = part
        return part.length === 1 && only !== undefined && isPlain(only) ? (only.items ?? []) : part
      })
      const comma: Node = { text: ',', isGlued: true }
      return { ...node, items: bare.flatMap((part, i) => (i === 0 ? part : [comma, ...part])) }
    })
}

/** Parentheses around one value, neither a call's nor a subquery's. */
function isPlain({ text, isGlued, items = [] }: Node): boolean {
  return text === '(' && !isGlued && items[0]?.text !== 'select' && split(items, [',']).length === 1
}

function inline(nodes: readonly Node[]): string {
  return nodes
    .map((node, i) => (i === 0 || node.isGlued || node.text === ',' ? '' : ' ') + inlineOne(node))
    .join('')
}

function inlineOne({ text, items }: Node): string {
  if (items === undefined) return text
  const gap = text === 'case' ? ' ' : ''
  return `${text}${gap}${inline(items)}${gap}${closing[text]}`
}

function layout(nodes: readonly Node[], indent: number): string {
  const whole = inline(nodes)
  if (nodes[0]?.text === 'select') return clauses(nodes, indent)
  if (indent + whole.length <= width && !whole.includes('(select ')) return whole
  const list = split(nodes, [','])
  if (list.length > 1) return filled(list, indent)
  for (const operators of [['or'], ['and'], ['||']]) {
    const [first = [], ...rest] = split(nodes, operators)
    if (rest.length === 0) continue
    const operands = rest.map(([operator, ...operand]) => {
      return `${operator?.text} ${layout(operand, indent)}`
    })
    return [layout(first, indent), ...operands].join(`\n${' '.repeat(indent)}`)
  }
  const [longest] = nodes
    .filter(({ items }) => items !== undefined)
    .toSorted((a, b) => inlineOne(b).length - inlineOne(a).length)
  return nodes
    .map((node, i) => {
      const gap = i === 0 || node.isGlued ? '' : ' '
      return gap + (node === longest ? broken(node, indent) : inlineOne(node))
    })
    .join('')
}

/** A list with as many items on each line as fit. */
function filled(list: readonly (readonly Node[])[], indent: number): string {
  const lines: string[] = []
  for (const item of list.map((part) => layout(part, indent))) {
    const line = lines.at(-1)
    const longer = `${line}, ${item}`
    if (line === undefined || indent + longer.length >= width) lines.push(item)
    else lines[lines.length - 1] = longer
  }
  return lines.join(`,\n${' '.repeat(indent)}`)
}

/** A pair with its items on lines of their own. */
function broken({ text, items = [] }: Node, indent: number): string {
  const outer = `\n${' '.repeat(indent)}`
  const inner = `${outer}  `
  if (text !== 'case') return `${text}${inner}${layout(items, indent + 2)}${outer}${closing[text]}`
  const [head = [], ...branches] = split(items, ['when', 'else'])
  const lines = branches.map((branch) => inner + layout(branch, indent + 4))
  return `${[text, inline(head)].join(' ').trimEnd()}${lines.join('')}${outer}end`
}

const joins = ['join', 'left', 'cross']
const others = ['from', 'where', 'group', 'having', 'union', 'order', 'limit']
const clauseWords = ['select', ...others, ...joins]

/** `select`, `from`, each `join` and so on, on lines of their own. */
function clauses(nodes: readonly Node[], indent: number): string {
  const parts: (readonly Node[])[] = []
  for (const part of split(nodes, clauseWords)) {
    const before = parts.at(-1)
    // `left join` is one clause.
    if (before?.length === 1 && part[0]?.text === 'join')
      parts[parts.length - 1] = [...before, ...part]
    else if (part.length > 0) parts.push(part)
  }
  const pad = ' '.repeat(indent)
  return parts
    .map(([word, ...rest]) => {
      if (word?.text === 'select') {
        const items = split(rest, [',']).map((item) => layout(item, indent + 2))
        return `select\n${pad}  ${items.join(`,\n${pad}  `)}`
      }
      return layout([word!, ...rest], indent).replaceAll(`\n${pad}and `, `\n${pad}  and `)
    })
    .join(`\n${pad}`)
}

/** Splits at each of the words. A comma is dropped; another word is the first token of its part. */
function split(nodes: readonly Node[], words: readonly string[]): Node[][] {
  const parts: Node[][] = [[]]
  for (const node of nodes) {
    const isEdge = node.items === undefined && words.includes(node.text)
    if (isEdge) parts.push([])
    if (node.text !== ',' || !isEdge) parts.at(-1)!.push(node)
  }
  return parts
}
