import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hasChromium } from '../support/browser.ts'
import { signInOnConsole, useConsole } from '../support/console.ts'
import { hashOfLook, markupOf } from '../support/console-look.ts'
import { makeDemoLedger, type DemoLedger } from '../support/demo-ledger.ts'

/** `npm run screenshots` writes them, and what they were made from. */
const isWriting = process.env.SCREENSHOTS === 'write'
const folder = 'docs/console'
const manifest = join(folder, 'made-from.json')
const wide = { width: 1280, height: 800 }
const schemes = ['light', 'dark'] as const

type MadeFrom = { readonly look: string; readonly screens: readonly string[] }

test.runIf(!isWriting)(
  'the screenshots were made with the current styles, words and markup',
  () => {
    const { look, screens } = JSON.parse(readFileSync(manifest, 'utf8')) as MadeFrom
    const files = screens.flatMap((name) => schemes.map((scheme) => fileOf(name, scheme)))
    expect(files.filter((file) => !existsSync(file))).toEqual([])
    expect(look, 'run: npm run screenshots').toBe(hashOfLook())
  },
)

describe('the markup of a component', () => {
  const component = `
    import { words } from '../words/users.ts'
    const column = { title: words.email }
    const Row = ({ onEnd }) => <p className="row"><b>{words.role}</b>: <i>{count} of 3</i></p>`

  test.each([
    ['an element', '<i>{count} of 3</i>', '<b>{count} of 3</b>'],
    ['a class', '"row"', '"wide row"'],
    ['an attribute', '<i>', '<i hidden>'],
    ['the nesting', '</b>: <i>{count} of 3</i>', ': <i>{count} of 3</i></b>'],
    ['a text', 'of 3', 'of 4'],
    ['a word', 'words.role', 'words.state'],
    ['a word outside of its elements', 'words.email', 'words.name'],
  ])('changes with %s', (_what, before, after) => {
    expect(markupOf(component.replace(before, after))).not.toEqual(markupOf(component))
  })

  test('stays the same where only other code changes', () => {
    const changed = component.replaceAll('count', 'total').replace('({ onEnd })', '(props)')
    expect(markupOf(changed)).toEqual(markupOf(component))
  })
})

describe.runIf(hasChromium && isWriting)('screenshots of the console', () => {
  const console = useConsole({ TRUSTED_PROXIES: '127.0.0.1/32' })
  const made: Record<string, string[]> = {}
  let demo: DemoLedger

  beforeAll(async () => {
    demo = await makeDemoLedger(console.app.url, console.app.owner)
    mkdirSync(folder, { recursive: true })
  })

  // A run that failed, or that made one scheme only, leaves the manifest as it was.
  afterAll(() => {
    const [screens, ...others] = schemes.map((scheme) => made[scheme])
    if (screens === undefined || others.includes(undefined)) return
    const madeFrom: MadeFrom = { look: hashOfLook(), screens }
    writeFileSync(manifest, `${JSON.stringify(madeFrom, null, 2)}\n`)
  })

  test.each(schemes)('%s', async (colorScheme) => {
    const options = { viewport: wide, colorScheme, locale: 'en-GB', timezoneId: 'Europe/Berlin' }
    const shown: string[] = []
    const show = async (page: Page, name: string, isLoaded: () => Promise<unknown>) => {
      await isLoaded()
      await page.waitForLoadState('networkidle')
      const path = fileOf(name, colorScheme)
      await page.screenshot({ path, fullPage: true, animations: 'disabled' })
      shown.push(name)
    }

    const visitor = await console.open('', options)
    await show(visitor, 'sign-in', () =>
      visitor.getByRole('heading', { name: 'Sign in' }).waitFor(),
    )
    await signInOnConsole(visitor, demo.person)
    await show(visitor, 'account', async () => {
      await visitor.getByText('You signed in').first().waitFor()
      await visitor.getByRole('rowheader', { name: 'this one' }).waitFor()
    })
    await visitor.context().close()

    const page = await console.open('overview', options)
    await signInOnConsole(page, demo.admin)
    for (const [path, name, loaded] of [
      [
        'overview',
        'overview',
        ['A spent token came back', 'Active sessions', 'Processes of the service'],
      ],
      ['sessions', 'sessions', [demo.person]],
      [`sessions/${demo.stolen}`, 'session', ['Came back from', 'generation 4']],
      [`sessions/${demo.lively}`, 'session-active', ['Work laptop', 'generation 9']],
      ['incidents', 'incidents', ['Speaks for theft', 'Tokens behind (median)']],
      ['users', 'users', ['Make administrator']],
      ['ledger/search', 'ledger', ['reuse detected']],
    ] as const) {
      await page.goto(`${console.app.url}/console/${path}`)
      await show(page, name, async () => {
        for (const text of loaded)
          await page.getByRole('main').getByText(text).locator('visible=true').first().waitFor()
      })
    }
    await page.context().close()
    expect(console.offences).toEqual([])
    made[colorScheme] = shown
  })
})

function fileOf(name: string, scheme: string): string {
  return join(folder, `${name}-${scheme}.png`)
}
