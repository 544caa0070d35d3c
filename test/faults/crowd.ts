import { createHash, randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { auth, type Answer } from '../support/http.ts'
import { testPassword } from '../support/users.ts'

/** Clients that use docs/reference/rotation.md, rule 5: an attempt is repeated until it is settled, the newest token kept. */
export type Crowd = AsyncDisposable & {
  readonly clients: readonly Client[]
  /** Refreshes that were granted so far. */
  granted(): number
  /** Attempts that failed and were made again, and answers that took long, so far. */
  disturbed(): number
  /**
   * Waits until each client that is signed in was granted a refresh that it asked for after `sinceAt`.
   *
   * @returns how long after `sinceAt` that was; null when `withinMs` were not enough
   */
  served(sinceAt: number, withinMs: number): Promise<number | null>
  /** Resolves once every attempt under way is settled, or given up with `withinMs`. */
  rest(withinMs: number): Promise<void>
  goOn(): void
}

export type Client = {
  readonly familyId: string
  readonly generation: number
  /** SHA-256 of the secret of every token it was given, by generation. */
  readonly given: ReadonlyMap<number, string>
  /** The reason it was told that its session is over; it is no client any more then. */
  readonly signedOut: string | null
  /** What should never have been said to it. */
  readonly surprises: readonly string[]
}

/** How long the client of this package waits for an answer, too. */
const requestTimeoutMs = 10_000
const slowMs = 300

/** Signs in so many clients of one user, who refresh without end. */
export async function startCrowd(at: { url: string; email: string; size: number }): Promise<Crowd> {
  const members: Member[] = []
  for (let i = 0; i < at.size; i++) members.push(await Member.signIn(at.url, at.email))
  const over = new AbortController()
  let resting: { promise: Promise<void>; end: () => void } | null = null
  const running = Promise.all(members.map(run))

  async function run(member: Member): Promise<void> {
    await sleep(Math.random() * 200)
    while (!over.signal.aborted && member.signedOut === null) {
      if (resting !== null && member.isSettled) {
        await resting.promise
        continue
      }
      await sleep(await member.refresh())
    }
  }

  const alive = () => members.filter(({ signedOut }) => signedOut === null)
  return {
    clients: members,
    granted: () => sum(members.map(({ granted }) => granted)),
    disturbed: () => sum(members.map(({ disturbed }) => disturbed)),
    async served(sinceAt, withinMs) {
      while (performance.now() < sinceAt + withinMs) {
        if (alive().every(({ servedAt }) => servedAt > sinceAt)) return performance.now() - sinceAt
        await sleep(20)
      }
      return null
    },
    async rest(withinMs) {
      let end = () => {}
      const promise = new Promise<void>((resolve) => (end = resolve))
      resting ??= { promise, end }
      const deadlineAt = performance.now() + withinMs
      while (!alive().every(({ isSettled }) => isSettled) && performance.now() < deadlineAt)
        await sleep(20)
    },
    goOn() {
      resting?.end()
      resting = null
    },
    async [Symbol.asyncDispose]() {
      over.abort()
      resting?.end()
      await running
    },
  }
}

class Member implements Client {
  readonly familyId: string
  readonly given = new Map<number, string>()
  readonly surprises: string[] = []
  signedOut: string | null = null
  granted = 0
  disturbed = 0
  /** When the newest refresh that was granted was asked for. */
  servedAt = 0
  readonly #url: string
  #token = ''
  #attemptId: string | null = null

  static async signIn(url: string, email: string): Promise<Member> {
    const credentials = { email, password: testPassword, transport: 'body' }
    const { status, data } = await auth(url, 'login', credentials)
    if (status !== 200) throw new Error(`a client could not sign in: ${status}`)
    return new Member(url, data)
  }

  constructor(url: string, { familyId, refreshToken }: { familyId: string; refreshToken: string }) {
    this.#url = url
    this.familyId = familyId
    this.#keep(refreshToken)
  }

  get generation(): number {
    return readToken(this.#token).generation
  }

  get isSettled(): boolean {
    return this.#attemptId === null
  }

  /** @returns how long to wait before the next one */
  async refresh(): Promise<number> {
    this.#attemptId ??= randomUUID()
    const askedAt = performance.now()
    const input = { refreshToken: this.#token, attemptId: this.#attemptId }
    const patience = AbortSignal.timeout(requestTimeoutMs)
    const answer = await auth(this.#url, 'refresh', input, {}, patience).catch(() => null)
    if (answer === null || performance.now() - askedAt > slowMs) this.disturbed++
    if (answer?.status === 200) {
      this.#keep(answer.data.refreshToken)
      this.#attemptId = null
      this.granted++
      this.servedAt = askedAt
      return 10 + Math.random() * 70
    }
    if (answer !== null) this.#takeRefusal(answer)
    const retryAfterMs = Number(answer?.headers.get('retry-after') ?? 0) * 1000
    return Math.max(retryAfterMs, 200) * (0.75 + Math.random() / 2)
  }

  #takeRefusal({ status, reason, incidentId }: Answer): void {
    const said = `${status} ${reason} ${incidentId ?? ''}`.trim()
    if (status === 503 || status === 429) this.disturbed++
    else if (status === 401) this.signedOut = said
    else this.surprises.push(said)
  }

  #keep(token: string): void {
    const { familyId, generation, hash } = readToken(token)
    const before = this.given.get(generation)
    const isNext = this.#token === '' ? generation === 0 : generation === this.generation + 1
    if (!isNext || (before !== undefined && before !== hash) || familyId !== this.familyId)
      this.surprises.push(`generation ${generation} of ${familyId}`)
    this.given.set(generation, hash)
    this.#token = token
  }
}

/** `tlr1.` and base64url of family (16 bytes), generation (4), secret (32) and MAC. */
function readToken(token: string): { familyId: string; generation: number; hash: string } {
  const bytes = Buffer.from(token.replace('tlr1.', ''), 'base64url')
  const hex = bytes.subarray(0, 16).toString('hex')
  return {
    familyId: hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5'),
    generation: bytes.readUInt32BE(16),
    hash: createHash('sha256').update(bytes.subarray(20, 52)).digest('hex'),
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0)
}
