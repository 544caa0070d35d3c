// As the package does: it adds what React Native has not.
declare const getRandomValues: Crypto['getRandomValues']

Object.assign(globalThis, { crypto: { getRandomValues } })
