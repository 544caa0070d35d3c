import { build } from 'esbuild'
import path from 'node:path'
import { createContext, runInContext } from 'node:vm'
import { PartialUrl } from '../../support/partial-url.ts'
import { waitFor } from '../../support/wait.ts'

/** The app on a device: what it shows, and what a person can do with it. */
export type App = {
  text(): string
  /** Waits until it shows a text. */
  shows(text: string | RegExp): Promise<void>
  type(placeholder: string, text: string): Promise<void>
  press(title: string): Promise<void>
  /** Ends the process. */
  close(): void
}

/** Bundles the example as Metro does, for one that runs without a device. */
export async function bundleApp(project: string, authUrl: string): Promise<string> {
  const standIn = (name: string) => path.resolve(import.meta.dirname, `${name}.ts`)
  const names = ['react-native', 'expo-secure-store', 'react-native-get-random-values']
  const { outputFiles } = await build({
    entryPoints: [standIn('index')],
    bundle: true,
    write: false,
    format: 'iife',
    platform: 'neutral',
    mainFields: ['module', 'main'],
    conditions: ['react-native'],
    jsx: 'automatic',
    define: {
      'process.env.NODE_ENV': '"production"',
      'process.env.EXPO_PUBLIC_AUTH_URL': JSON.stringify(authUrl),
    },
    alias: {
      ...Object.fromEntries(names.map((name) => [name, standIn(name)])),
      app: path.join(project, 'App.tsx'),
    },
    nodePaths: [path.join(project, 'node_modules')],
  })
  return outputFiles[0]!.text
}

/** Starts the app with the globals of React Native alone, and a keychain that outlives it. */
export function openApp(bundle: string, keychain: Map<string, string>): App {
  const timers = new Set<NodeJS.Timeout>()
  const globals = createContext({
    AbortController,
    AbortSignal,
    clearTimeout,
    console,
    fetch,
    Headers,
    navigator: { product: 'ReactNative' },
    performance,
    queueMicrotask,
    Request,
    Response,
    setTimeout(run: () => void, ms?: number) {
      // A number, as in React Native.
      const timer = setTimeout(run, ms)
      timers.add(timer)
      return Number(timer)
    },
    URL: PartialUrl,
    keychain,
    getRandomValues: (bytes: Uint8Array<ArrayBuffer>) => crypto.getRandomValues(bytes),
  }) as { shown?: { toJSON(): Tree; unmount(): void } }
  runInContext('globalThis.window = globalThis.global = globalThis', globals)
  runInContext(bundle, globals)

  const nodes = () => allIn(globals.shown?.toJSON() ?? null)
  const text = () =>
    nodes()
      .filter((node) => node.type === 'Text')
      .map(({ children }) => (children ?? []).map(String).join(''))
      .join('\n')
  const find = (prop: string, value: string) =>
    waitFor(
      () => nodes().find(({ props }) => props[prop] === value)?.props,
      `there is a ${prop} "${value}" beside "${text()}"`,
    )
  return {
    text,
    async shows(expected) {
      const matches = () =>
        typeof expected === 'string' ? text().includes(expected) : expected.test(text())
      await waitFor(matches, `"${String(expected)}" is shown`)
    },
    async type(placeholder, typed) {
      const props = await find('placeholder', placeholder)
      ;(props.onChangeText as (text: string) => void)(typed)
      await waitFor(() => nodes().some((node) => node.props.value === typed))
    },
    async press(title) {
      const props = await find('title', title)
      ;(props.onPress as () => void)()
    },
    close() {
      globals.shown?.unmount()
      for (const timer of timers) clearTimeout(timer)
    },
  }
}

type Node = {
  readonly type: string
  readonly props: Record<string, unknown>
  readonly children: readonly (Node | string)[] | null
}
type Tree = Node | string | readonly (Node | string)[] | null

function allIn(tree: Tree): Node[] {
  if (tree === null || typeof tree === 'string') return []
  if (Array.isArray(tree)) return tree.flatMap(allIn)
  const node = tree as Node
  return [node, ...(node.children ?? []).flatMap(allIn)]
}
