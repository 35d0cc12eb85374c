/** `bun run.ts OPTIONS`: runs sandbox() with options in JSON, and prints its result, or the error, as JSON. */
import process from 'node:process';
import { type SandboxOptions, type SandboxResult, sandbox } from '../../src/index.ts';

export type Told = Omit<SandboxResult, 'stdout' | 'stderr'> & {
  stdout: string;
  stderr: string;
  warnings: string[];
};

export async function tellSandbox(options: SandboxOptions): Promise<Told> {
  const warnings: string[] = [];
  const others = { trace() {}, debug() {}, info() {}, error() {} };
  const logger = { ...others, warn: (message: string | (() => string)) => warnings.push(`${message}`) };
  const result = await sandbox({ logger, ...options });
  return { ...result, stdout: result.stdout.toString(), stderr: result.stderr.toString(), warnings };
}

if (import.meta.main) {
  const told = await tellSandbox(JSON.parse(process.argv[2]!) as SandboxOptions).catch((error: Error) => ({
    error: `${error.name}: ${error.message}`,
  }));
  console.log(JSON.stringify(told));
}
