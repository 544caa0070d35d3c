import type { ReactNode } from 'react'
import { words } from '../words/common.ts'
import { Foreign } from './foreign.tsx'

// The first that matches: every browser also claims to be those it descends from.
const browsers = [
  ['Edge', /\bEdg(?:e|A|iOS)?\//],
  ['Opera', /\bOPR\//],
  ['Samsung Internet', /\bSamsungBrowser\//],
  ['Firefox', /\b(?:Firefox|FxiOS)\//],
  ['Chrome', /\b(?:Chrome|CriOS|HeadlessChrome)\//],
  ['Safari', /\bSafari\//],
] as const
const systems = [
  ['iPhone', /\biPhone\b/],
  ['iPad', /\biPad\b/],
  ['Android', /\bAndroid\b/],
  ['Windows', /\bWindows\b/],
  ['macOS', /\bMac OS X\b/],
  ['Linux', /\bLinux\b/],
] as const

/** `Firefox on Windows`; the user agent itself where it is no browser's. */
export function Device({
  deviceName,
  userAgent,
}: {
  readonly deviceName: string | null
  readonly userAgent: string | null
}): ReactNode {
  return <Foreign text={deviceName ?? describeAgent(userAgent) ?? words.unknown} />
}

export function describeAgent(userAgent: string | null): string | null {
  if (userAgent === null) return null
  const [browser, system] = [browsers, systems].map(
    (known) => known.find(([, pattern]) => pattern.test(userAgent))?.[0],
  )
  if (browser === undefined) return userAgent
  return system === undefined ? browser : `${browser} · ${system}`
}
