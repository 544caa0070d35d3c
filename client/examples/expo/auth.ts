import 'react-native-get-random-values'
import { createAuthClient, fromGetSet } from '@token-ledger/client'
import { deleteItemAsync, getItemAsync, setItemAsync } from 'expo-secure-store'

const key = 'token-ledger'

export const auth = createAuthClient({
  baseUrl: process.env.EXPO_PUBLIC_AUTH_URL ?? 'http://localhost:3000',
  storage: fromGetSet({
    get: () => getItemAsync(key),
    set: (text) => setItemAsync(key, text),
    remove: () => deleteItemAsync(key),
  }),
})
