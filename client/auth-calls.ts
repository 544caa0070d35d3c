/**
 * What the calls to `/auth` take and answer. Written out, so that the types of the package need neither the service nor
 * tRPC. `test/client/types.test.ts` compares them with the service's router.
 */
export type AuthInputs = {
  register: Credentials
  login: {
    email: string
    password: string
    transport?: 'cookie' | 'body' | undefined
    deviceName?: string | undefined
  }
  refresh: {
    attemptId?: string | undefined
    previousAttemptIds?: string[] | undefined
    familyId?: string | undefined
    refreshToken?: string | undefined
  }
  reauthenticate: {
    password: string
    attemptId: string
    previousAttemptIds?: string[] | undefined
    familyId?: string | undefined
    refreshToken?: string | undefined
  }
  logout: { refreshToken?: string | undefined; everywhere?: boolean | undefined }
}

export type AuthOutputs = {
  register: Grant
  login: Grant
  refresh: Grant
  reauthenticate: Reauthenticated
  logout: { success: true; revoked: number }
}

export type Credentials = { email: string; password: string }

export type Grant = {
  accessToken: string
  tokenType: 'Bearer'
  expiresIn: number
  refreshExpiresAt: string
  familyId: string
  user: User
  refreshToken?: string
}

/** `isReauthenticated` is false where another request had rotated the token before: the grant is of that rotation. */
export type Reauthenticated = Pick<
  Grant & { isReauthenticated: boolean },
  keyof Grant | 'isReauthenticated'
>

export type User = { id: string; email: string; role: 'user' | 'admin' }
