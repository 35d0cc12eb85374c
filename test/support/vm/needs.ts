/** What tests below test/vm/ need: to run in a virtual machine, as scripts/test.ts has them run. */
import { existsSync } from 'node:fs';
import process from 'node:process';
import type { Need } from '../needs.ts';

/** The variable in which scripts/test.ts tells why there is no virtual machine. */
export const NO_VM = 'NSPAWN_TEST_NO_VM';

/** For needs(): this is a virtual machine that has been started for tests. */
export const inVm: Need = () =>
  existsSync('/vm/command') ? undefined : (process.env[NO_VM] ?? 'not in a virtual machine: see scripts/test.ts');
