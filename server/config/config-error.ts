/** A variable cannot be used. The message is one line: the variable, what is wrong with it, and an example. */
export class ConfigError extends Error {}
