import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'

/** A process that answers calls (`answerCalls`); it ends with the one that started it. */
export type Child = {
  readonly pid: number
  call(command: string, payload?: unknown): Promise<any>
  stop(): Promise<void>
}

/** Starts a script that calls `answerCalls`. */
export function startChild(script: URL, env: Record<string, string> = {}): Child {
  const path = fileURLToPath(script)
  const child = fork(path, [], {
    execArgv: ['--import', 'tsx', '--expose-gc'],
    env: { PATH: process.env.PATH, ...env },
    serialization: 'advanced',
  })
  const waiting = new Map<number, { resolve: (v: any) => void; reject: (e: Error) => void }>()
  child.on('message', ({ id, result, error }: { id: number; result: unknown; error?: string }) => {
    const call = waiting.get(id)
    waiting.delete(id)
    if (error === undefined) call?.resolve(result)
    else call?.reject(new Error(error))
  })
  child.on('exit', (code) => {
    for (const { reject } of waiting.values()) reject(new Error(`${basename(path)} ended: ${code}`))
  })
  let lastId = 0
  return {
    pid: child.pid!,
    call: (command, payload) =>
      new Promise((resolve, reject) => {
        const id = ++lastId
        waiting.set(id, { resolve, reject })
        child.send({ id, command, payload })
      }),
    stop: () => end(child),
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  await exited
}

/** Answers the calls of the process that started this one. */
export function answerCalls(answers: Record<string, (payload: any) => unknown>): void {
  process.on('message', ({ id, command, payload }: any) => {
    Promise.resolve()
      .then(() => answers[command]!(payload))
      .then(
        (result) => process.send!({ id, result }),
        (error: unknown) =>
          process.send!({ id, error: error instanceof Error ? error.stack : String(error) }),
      )
  })
  process.on('disconnect', () => process.exit())
}
