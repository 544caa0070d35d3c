import type { Commands } from './command.ts'
import { printable } from './output.ts'

/** The command that the words begin with. */
export function nameIn(commands: Commands, words: readonly string[]): string | undefined {
  return [words.slice(0, 2).join(' '), words[0] ?? ''].find((name) => Object.hasOwn(commands, name))
}

/** Usage of one command, else of the commands that begin with the first word, else of all. */
export function help(commands: Commands, words: readonly string[]): string {
  const topic = words.filter((word) => word !== 'help')
  const name = nameIn(commands, topic)
  const command = name === undefined ? undefined : commands[name]
  if (name !== undefined && command !== undefined)
    return `${`usage: token-ledger ${name} ${command.usage}`.trimEnd()}\n${command.summary}`
  const related = namesBeginningWith(commands, topic[0])
  const lines = Object.entries(commands)
    .filter(([each]) => related.length === 0 || related.includes(each))
    .map(([each, { usage, summary }]) => `  ${`${each} ${usage}`.padEnd(60)} ${summary}`)
  return ['usage: token-ledger <command>', '', ...lines].join('\n')
}

/** What is wrong with words that no command begins with. */
export function problem(commands: Commands, words: readonly string[]): string {
  const [first] = words
  if (first === undefined) return 'expected a command'
  const related = namesBeginningWith(commands, first)
  if (related.length === 0) return `unknown command ${quoted(first)}`
  return `unknown command ${quoted(words.slice(0, 2).join(' '))}; known: ${related.join(', ')}`
}

function namesBeginningWith(commands: Commands, word: string | undefined): string[] {
  return Object.keys(commands).filter((name) => name.startsWith(`${word} `))
}

function quoted(text: string): string {
  return printable(JSON.stringify(text))
}
