/**
 * `@token-ledger/testing`: for the tests of apps and services that use token-ledger. Handlers for MSW are an entry of
 * their own, `@token-ledger/testing/msw`.
 *
 * @module
 */
export { fakeAuthClient, type FakeAuthClient, type FakeAuthClientOptions } from './auth-client.ts'
export { createFakeService, type FakeService, type FakeServiceOptions } from './service.ts'
export {
  createTestIssuer,
  startTestIssuer,
  type ForUser,
  type StartedIssuer,
  type TestIssuer,
  type TestUser,
} from './issuer.ts'
export { signInForTest, type TestPage, type TestSignIn } from './playwright.ts'
