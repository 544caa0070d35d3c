// Stands in for the keychain of a device.
declare const keychain: Map<string, string>

/** The largest value that every version of iOS stores (docs.expo.dev, SecureStore). */
const maxBytes = 2048

export const getItemAsync = async (key: string): Promise<string | null> => keychain.get(key) ?? null

export async function setItemAsync(key: string, value: string): Promise<void> {
  if (value.length > maxBytes) throw new Error(`${value.length} bytes are too many`)
  keychain.set(key, value)
}

export async function deleteItemAsync(key: string): Promise<void> {
  keychain.delete(key)
}
