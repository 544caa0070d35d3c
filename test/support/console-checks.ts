import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Page } from 'playwright-core'
import { expect } from 'vitest'

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** The narrowest phone, a tablet and a desktop. */
const widths = [360, 768, 1440]

/** Asks axe-core about the page as it is shown, in light and in dark. */
export async function expectAccessible(page: Page): Promise<void> {
  if (!(await page.evaluate(() => 'axe' in window))) await page.evaluate(axe)
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme })
    const found = await page.evaluate(async () => {
      const { violations } = await (window as any).axe.run(document)
      return violations.map(
        ({ id, nodes }: any) => `${id}: ${nodes[0].html} ${nodes[0].failureSummary}`,
      )
    })
    expect([colorScheme, ...found]).toEqual([colorScheme])
  }
  await page.emulateMedia({ colorScheme: null })
}

/** At each width, nothing of the page is to the right of the window. */
export async function expectNoSidewaysScroll(page: Page): Promise<void> {
  const before = page.viewportSize()
  for (const width of widths) {
    await page.setViewportSize({ width, height: 800 })
    const scrolled = await page.evaluate(async () => {
      await new Promise((resolve) => requestAnimationFrame(resolve))
      const { scrollWidth, clientWidth } = document.documentElement
      if (scrollWidth === clientWidth) return []
      const isWide = (element: Element) => element.getBoundingClientRect().right > clientWidth
      const wide = Array.from(document.querySelectorAll('body *')).filter(isWide)
      return wide.map((element) => element.cloneNode(false)).map((shell: any) => shell.outerHTML)
    })
    expect([width, ...scrolled]).toEqual([width])
  }
  if (before !== null) await page.setViewportSize(before)
}

/** What the page can be seen to say. */
export async function textOf(page: Page): Promise<string> {
  return page.locator('body').innerText()
}

/** Tab alone reaches every control that the page shows, and each control shows that it has the focus. */
export async function expectReachableByTab(page: Page): Promise<void> {
  const count = await page.evaluate(() => {
    const controls = [
      ...document.querySelectorAll<HTMLElement>(
        'a[href], button, input, select, textarea, [tabindex]',
      ),
    ].filter(
      (control) =>
        control.tabIndex >= 0 &&
        !control.matches(':disabled') &&
        control.checkVisibility({ visibilityProperty: true }),
    )
    const unreached = new Set(controls)
    const watch = ({ target }: FocusEvent) => {
      const isOutlined = getComputedStyle(target as HTMLElement).outlineStyle !== 'none'
      if (isOutlined) unreached.delete(target as HTMLElement)
    }
    document.addEventListener('focusin', watch)
    Object.assign(window, { unreached })
    return controls.length
  })
  expect(count).toBeGreaterThan(0)
  const missing = () =>
    page.evaluate(() =>
      Array.from((window as any).unreached as Set<HTMLElement>)
        // Of a screen that has rendered anew, another element has its place.
        .filter((control) => control.isConnected)
        .map((control) => control.outerHTML.slice(0, 200)),
    )
  // From wherever the focus is, to the last control and on from the first. Boxes that scroll take the focus, too.
  for (let presses = 1; presses <= 2 * count + 10; presses += 1) {
    await page.keyboard.press('Tab')
    if (presses % 10 === 0 && (await missing()).length === 0) return
  }
  expect(await missing()).toEqual([])
}
