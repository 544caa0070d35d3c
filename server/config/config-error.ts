/** The environment cannot be used. The message is one line: the variable, what is wrong, an example. */
export class ConfigError extends Error {}
