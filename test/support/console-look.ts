import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseSync, Visitor } from 'rolldown/utils'

const folder = 'client/console'

/** The hash of what the console looks like, in hex: of its styles, its words and the markup of its components. */
export function hashOfLook(): string {
  const hash = createHash('sha256')
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' }).toSorted()) {
    const file = join(folder, name)
    if (name.endsWith('.tsx')) hash.update(markupOf(readFileSync(file, 'utf8')).join('\n'))
    else if (/^(?:style|words)\//.test(name)) hash.update(name).update(readFileSync(file))
  }
  return hash.digest('hex')
}

/**
 * What of a component can be seen: its elements with their nesting, the names and texts of their attributes, texts, and
 * which words it uses. The rest of its code may change without a change of its look.
 */
export function markupOf(source: string): string[] {
  const { program, module } = parseSync('component.tsx', source)
  const ofWords = new Set(
    module.staticImports
      .filter(({ moduleRequest }) => moduleRequest.value.includes('/words/'))
      .flatMap(({ entries }) => entries.map(({ localName }) => localName.value)),
  )
  const textOf = ({ start, end }: { start: number; end: number }) => source.slice(start, end)
  const seen: string[] = []
  let depth = 0
  const leave = () => {
    depth -= 1
    seen.push('/')
  }
  const text = (value: string) => {
    if (depth > 0 && value.trim() !== '') seen.push(value.trim())
  }
  new Visitor({
    JSXElement: () => void (depth += 1),
    JSXOpeningElement: ({ name }) => void seen.push(`<${textOf(name)}`),
    JSXAttribute: ({ name }) => void seen.push(textOf(name)),
    'JSXElement:exit': leave,
    JSXText: ({ value }) => text(value),
    Literal: ({ value }) => text(String(value ?? '')),
    TemplateElement: ({ value }) => text(value.raw),
    MemberExpression: (node) => {
      if (node.object.type === 'Identifier' && ofWords.has(node.object.name))
        seen.push(textOf(node))
    },
  }).visit(program)
  return seen
}
