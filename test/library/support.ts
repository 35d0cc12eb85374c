/** Containers as a program spawns them. */
import type { SpawnOptions } from '../../src/index.ts';
import { busyboxTree } from '../support/tree.ts';

/** Options for a shell script on the busybox tree, which many can use at a time. */
export const shell = (script: string, options: SpawnOptions = {}): SpawnOptions => ({
  directory: busyboxTree(),
  machine: 'box',
  readOnly: true,
  timezone: 'off',
  resolvConf: 'off',
  command: ['/bin/sh', '-c', script],
  ...options,
});
