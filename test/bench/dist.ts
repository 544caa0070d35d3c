/**
 * Loads a module of the built package, which is what users run. The sources would be measured together with the
 * TypeScript loader of the benchmark.
 */
export async function fromDist<Module>(path: string): Promise<Module> {
  return (await import(new URL(`../../dist/${path}`, import.meta.url).href)) as Module
}
