import { takes } from './usage-error.ts';

/** Environment variables by their names, such as process.env. */
export type Environment = Record<string, string | undefined>;

/**
 * `NAME=VALUE`. From a bare `NAME` the value is the variable's in `environment`, empty where it isn't set, as today's
 * systemd-nspawn does it. Throws ValueError.
 */
export function parseAssignment(text: string, environment: Environment = {}): string {
  const name = nameOf(text);
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) throw takes('NAME or NAME=VALUE', text);
  return text.includes('=') ? text : `${text}=${environment[text] ?? ''}`;
}

/** The assignments with one more, in place of an earlier one to the same name. */
export function withAssignment(assignments: readonly string[], assignment: string): string[] {
  const name = nameOf(assignment);
  return [...assignments.filter(each => nameOf(each) !== name), assignment];
}

function nameOf(assignment: string): string {
  return assignment.split('=', 1)[0] ?? '';
}
