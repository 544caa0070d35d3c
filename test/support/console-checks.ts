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
      return scrollWidth - clientWidth
    })
    expect([width, scrolled]).toEqual([width, 0])
  }
  if (before !== null) await page.setViewportSize(before)
}

/** What the page can be seen to say. */
export async function textOf(page: Page): Promise<string> {
  return page.locator('body').innerText()
}
