import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openCheckpoint, type Checkpoint } from '../../server/evidence/checkpoint.ts'
import { rootOf } from '../../server/evidence/merkle.ts'
import { createCheckpointSigner, verifierKeyOf } from '../../server/evidence/sign-checkpoints.ts'
import { storedSubtrees } from '../../server/evidence/stored-tiles.ts'
import { verifyLog } from '../../server/evidence/verify-log.ts'
import { serviceUrl } from '../support/admin.ts'
import { shutGate, type LogStep } from '../support/gate.ts'
import { startLedger, type TestLedger } from '../support/ledger.ts'
import { completeLog, makeIdentity, strayLeaves } from '../support/log.ts'
import { repeats, runsLong } from '../support/long.ts'
import { nodeArguments } from '../support/programs.ts'
import { waitFor } from '../support/wait.ts'

const writersOfEach = 12
const writingMs = runsLong ? 60_000 : 2_000
const identity = makeIdentity()
const key = verifierKeyOf(identity)

let ledger: TestLedger

beforeAll(async () => {
  ledger = await startLedger()
})
afterAll(() => ledger[Symbol.asyncDispose]())

/** Of all processes, killed or not. */
const signed: Checkpoint[] = []
const refusals: string[] = []

type LogProcess = {
  /** How many checkpoints it has signed. */
  signed(): number
  kill(): Promise<void>
}

async function startProcess(writers: number): Promise<LogProcess> {
  const users = await Promise.all(Array.from({ length: writers }, () => ledger.makeUser()))
  const child = spawn(process.execPath, nodeArguments('test/evidence/log-process.ts'), {
    env: {
      PATH: process.env.PATH,
      DATABASE_URL: serviceUrl(ledger.owner.url),
      LOG_KEY: identity.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
      LOG_USERS: JSON.stringify(users),
      PUBLIC_URL: `https://${identity.origin.replace('/ledger', '')}`,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let count = 0
  createInterface({ input: child.stdout }).on('line', (line) => {
    const { note, refusal } = readLine(line)
    if (refusal !== undefined) refusals.push(refusal)
    if (note === undefined) return
    count += 1
    signed.push(openCheckpoint(note, [key]))
  })
  const exited = once(child, 'exit')
  return {
    signed: () => count,
    async kill() {
      child.kill('SIGKILL')
      // It did not end by itself before.
      expect(await exited).toEqual([null, 'SIGKILL'])
    },
  }
}

/** The last line of a process that was killed may lack its end. */
function readLine(line: string): { note?: string; refusal?: string } {
  try {
    return JSON.parse(line) as { note?: string; refusal?: string }
  } catch {
    return {}
  }
}

/** Each committed row is one leaf, and each checkpoint that any process signed is still true. */
async function expectTrueLog(): Promise<void> {
  const size = await completeLog(ledger.owner)
  expect(await strayLeaves(ledger.owner.ownerSql)).toEqual([])
  expect(refusals).toEqual([])
  const roots = new Map(signed.map((checkpoint) => [checkpoint.size, checkpoint.root]))
  for (const [before, root] of roots)
    expect(await rootOf(before, storedSubtrees(ledger.database, before))).toEqual(root)
  for (const { root, size: before } of signed) expect(root).toEqual(roots.get(before))
  const last = await createCheckpointSigner(ledger.database, identity).current()
  expect(await verifyLog(ledger.database, last, [key])).toEqual({ leaves: size, problems: [] })
}

test(
  'LE-29: 24 writers with rollbacks on two processes, which are killed with their sequencers: each committed row is one leaf, and each checkpoint stays true',
  { timeout: writingMs + 120_000 },
  async () => {
    const processes = [await startProcess(writersOfEach), await startProcess(writersOfEach)]
    const endsAt = performance.now() + writingMs
    const isOver = () => performance.now() > endsAt
    let kills = 0

    async function killProcesses(): Promise<void> {
      do {
        const i = kills++ % 2
        await waitFor(() => processes[i]!.signed() > 0, 'a process signs', 30_000)
        await sleep(Math.random() * 300)
        await processes[i]!.kill()
        processes[i] = await startProcess(writersOfEach)
      } while (!isOver())
    }

    async function endBackends(): Promise<void> {
      while (!isOver()) {
        await ledger.owner.ownerSql`
          select pg_terminate_backend(pid) from pg_stat_activity
          where datname = current_database() and state = 'active' and query like '%append_leaves%'
            and pid <> pg_backend_pid()`
        await sleep(Math.random() * 100)
      }
    }

    await Promise.all([killProcesses(), endBackends()])
    await Promise.all(processes.map((process) => process.kill()))
    expect(signed.length).toBeGreaterThanOrEqual(kills)
    await expectTrueLog()
  },
)

const steps: [LogStep, 'goes on' | 'ends as well'][] = [
  ['log_leaf', 'ends as well'],
  ['log_checkpoint', 'goes on'],
  ['log_leaf', 'goes on'],
  ['log_node', 'goes on'],
  ['log_node', 'ends as well'],
  ['log_checkpoint', 'ends as well'],
  ['commit_leaves', 'goes on'],
  ['commit_leaves', 'ends as well'],
]

test.each(steps.slice(0, repeats(2, steps.length)))(
  'a process that is killed at %s, whose backend %s, leaves a whole log',
  { timeout: 60_000 },
  async (step, backend) => {
    const { ownerSql } = ledger.owner
    {
      await using gate = await shutGate(ownerSql, step)
      await ownerSql`
        insert into token_ledger.admin_action (action) select 'user_created' from generate_series(1, 300)`
      const process = await startProcess(0)
      const pid = await waitFor(() => gate.firstWaiter(), `a backend waits at ${step}`, 30_000)
      await process.kill()
      if (backend === 'ends as well') await ownerSql`select pg_terminate_backend(${pid})`
    }
    await expectTrueLog()
  },
)
