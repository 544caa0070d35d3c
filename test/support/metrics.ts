import { testMetricsToken } from './server.ts'

/** The current value of a metric of a service; `name` includes its labels, if any. */
export async function metricOf(url: string, name: string): Promise<number> {
  const text = await metricsOf(url)
  const line = text.split('\n').find((one) => one.startsWith(`${name} `))
  if (line === undefined) throw new Error(`no metric ${name}`)
  return Number(line.slice(name.length + 1))
}

/** The text of `/metrics`. */
export async function metricsOf(url: string): Promise<string> {
  const headers = { authorization: `Bearer ${testMetricsToken}` }
  return (await fetch(`${url}/metrics`, { headers })).text()
}
