import { checkOptions } from '../options/check.ts';
import type { Environment } from '../options/environment.ts';
import { impliedOptions } from '../options/implied.ts';
import { namingOption } from '../options/usage-error.ts';
import type { ContainerOptions } from '../options.ts';
import { getopt, optionTitle } from './getopt.ts';
import type { Draft, Patch, Settings } from './options/row.ts';
import { sections } from './options.ts';

/** What a command line asks for. */
export type ParsedCommandLine = Settings & { options: ContainerOptions };

/**
 * Reads and checks the words after `nspawn`. A --help, --version or --capability=help ends the reading, so what stands
 * after it is not checked. Touches nothing but the paths of the image, which are resolved. Throws UsageError.
 * @param environment - where --setenv=NAME takes its value from
 */
export function parseCommandLine(words: readonly string[], environment: Environment): ParsedCommandLine {
  const table = sections.flatMap(section => section.rows);
  const draft: Draft = { action: 'run', quiet: false, logLevel: 'info', logFormat: 'text' };
  const given = getopt(words, table);
  let step = given.next();
  for (; !step.done; step = given.next()) {
    const { option, value = 'yes' } = step.value;
    const patch = namingOption(optionTitle(option), () => option.set(value, draft, environment));
    applyPatch(draft, patch);
    if (ENDS_READING.includes(draft.action)) return separate(draft);
  }
  const command = step.value;
  const line = separate(draft);
  const options = impliedOptions({ ...line.options, ...(command.length > 0 && { command }) });
  checkOptions(options);
  return { ...line, options };
}

const ENDS_READING: readonly Draft['action'][] = ['help', 'version', 'capabilities'];

function applyPatch(draft: Draft, patch: Patch): void {
  Object.assign(draft, patch);
  for (const key of Object.keys(patch) as (keyof Draft)[]) {
    if (patch[key] === undefined) delete (draft as Patch)[key];
  }
}

function separate({ action, quiet, logLevel, logFormat, console, ...options }: Draft): ParsedCommandLine {
  return { action, quiet, logLevel, logFormat, ...(console && { console }), options };
}
