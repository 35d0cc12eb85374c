/** What the tables of options are made of. */
import type { Environment } from '../../options/environment.ts';
import type { ConsoleMode, ContainerOptions } from '../../options.ts';
import type { Syntax } from '../getopt.ts';

export type LogFormat = 'text' | 'json';
export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error';

/** What the command line says beyond the container itself. */
export interface Settings {
  action: 'run' | 'help' | 'version' | 'capabilities' | 'dry-run' | 'cleanup';
  /** Absent when it was not given: then it depends on the terminal. */
  console?: ConsoleMode;
  quiet: boolean;
  logLevel: LogLevel;
  logFormat: LogFormat;
}

/** What has been read so far. */
export type Draft = Settings & ContainerOptions;

/** New values for a draft; undefined takes back what was set. */
export type Patch = { [Key in keyof Draft]?: Draft[Key] | undefined };

/** One option of the command line. */
export interface Row extends Syntax {
  help: string;
  /** What it changes, given its value (`yes` when it has none). Throws ValueError. */
  set: (text: string, draft: Draft, environment: Environment) => Patch;
}

/** Options under a heading of the help. */
export interface Section {
  title: string;
  rows: readonly Row[];
}

/** What a list of capabilities changes; instead of one, `help` asks which there are. */
export const unlessHelp = (text: string, set: () => Patch): Patch =>
  text === 'help' ? { action: 'capabilities' } : set();
