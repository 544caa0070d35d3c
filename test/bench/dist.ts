/**
 * A module of the built package: what users run. The sources themselves would be measured with what
 * the loader of the benchmark adds to them.
 */
export async function fromDist<Module>(path: string): Promise<Module> {
  return (await import(new URL(`../../dist/${path}`, import.meta.url).href)) as Module
}
