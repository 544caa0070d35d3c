import { TRPCClientError } from '@trpc/client'
import { auth, noticeLostRole } from '../../service.ts'

/**
 * Gets the export by the access token, which a link could not send, and hands it to the browser as a file.
 *
 * @param period moments of `datetime-local` in the reader's own zone; empty without a bound
 * @throws {TRPCClientError} the service's refusal
 * @throws {TypeError} the stream broke off. No file is saved
 */
export async function downloadExport(period: {
  readonly from: string
  readonly to: string
}): Promise<void> {
  const given = Object.entries(period).filter(([, moment]) => moment !== '')
  const bounds = given.map(([name, moment]) => [name, new Date(moment).toISOString()])
  const response = await auth.fetch(`/admin/export?${new URLSearchParams(bounds)}`)
  if (!response.ok) {
    const refusal = TRPCClientError.from(await response.json())
    // `auth.fetch` does not go through the links, which notice it for calls.
    noticeLostRole(refusal)
    throw refusal
  }
  save(await response.blob(), `ledger-${new Date().toISOString().slice(0, 10)}.jsonl`)
}

function save(file: Blob, name: string): void {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(file)
  link.download = name
  link.click()
  URL.revokeObjectURL(link.href)
}
