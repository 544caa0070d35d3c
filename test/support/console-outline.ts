import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Page } from 'playwright-core'

/** What most of the look of the console comes from: its styles and its words. Their hash, in hex. */
export function hashOfLook(): string {
  const hash = createHash('sha256')
  for (const folder of ['client/console/style', 'client/console/words'])
    for (const name of readdirSync(folder).toSorted())
      hash.update(name).update(readFileSync(join(folder, name)))
  return hash.digest('hex')
}

/**
 * The hash of what a screen is made of: its elements with their classes, and the texts that are the same in every run.
 * Two screens with the same outline look the same but for their data.
 */
export async function hashOfOutline(page: Page): Promise<string> {
  const outline = await page.evaluate(() => {
    const fixed = 'h1, h2, h3, th, label, legend, button, option, nav a'
    const line = (element: Element): string => {
      const text = element.matches(fixed) && element.childElementCount === 0 && element.textContent
      const said = text === false || text === null ? '' : text.replaceAll(/[\d\s.:,/-]+/g, ' ')
      const inside = element.tagName === 'svg' ? '' : [...element.children].map(line).join('')
      return `<${element.tagName} ${element.getAttribute('class') ?? ''}>${said}${inside}`
    }
    return line(document.body)
  })
  return createHash('sha256').update(outline).digest('hex')
}
