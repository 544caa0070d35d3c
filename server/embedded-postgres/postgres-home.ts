export type RunAs = { readonly uid: number; readonly gid: number }

/** The folder with all files of one database, and the user Postgres runs as. */
export type PostgresHome = {
  readonly folder: string
  /** Undefined: the user of this process. */
  readonly runAs: RunAs | undefined
}
