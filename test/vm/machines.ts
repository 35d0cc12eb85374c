/** Containers on the host that a virtual machine is, and what machined and systemd know of them. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { busyboxTree } from '../support/tree.ts';
import { ends, sh } from './support.ts';

export interface Running extends AsyncDisposable {
  child: ChildProcess;
  /** What it has said so far. */
  said(): string;
  /** Its exit status or signal, once it has ended. */
  ended: Promise<number | string>;
}

/** Starts a command whose end is waited for. */
export function start(...command: string[]): Running {
  const child = spawn(command[0]!, command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      text += chunk;
    });
  }
  // Not its streams' end: a container of systemd-nspawn's that is left behind would keep them.
  const ended = once(child, 'exit').then(([status, signal]) => status ?? signal);
  return {
    child,
    said: () => text,
    ended,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      const timer = global.setTimeout(() => child.kill('SIGKILL'), 30_000);
      await ended;
      clearTimeout(timer);
    },
  };
}

/** The words for a container on the busybox tree, of which there is nothing to warn whatever the host is. */
export const onBusybox = (name: string, ...options: string[]): string[] => [
  ...['nspawn', '-q', '-D', busyboxTree(), '--read-only', '--timezone=off', '--resolv-conf=off'],
  ...['--console=pipe', '-M', name, ...options, '--'],
];
export const sleeping = ['/bin/sh', '-c', 'echo ready; exec sleep 1000'];

/** Emulated machines are slow, and more so when asked often. */
export async function eventually(what: string, condition: () => unknown): Promise<void> {
  for (let tries = 0; tries < 240; tries++) {
    if (condition()) return;
    await setTimeout(500);
  }
  throw new Error(`waiting until ${what}`);
}

/** A property of a unit. */
export const property = (unit: string, name: string) => sh(`systemctl show --value --property=${name} ${unit}`);
export const isListed = (name: string) => ends(`machinectl show ${name}`).status === 0;
/** The scope units of containers. */
export const scopes = () => readdirSync('/sys/fs/cgroup/machine.slice').filter(name => name.endsWith('.scope'));

/** Nothing of it is left for machined and systemd; they may need a moment. */
export async function isGone(name: string): Promise<void> {
  await eventually(`${name} is not listed`, () => !isListed(name));
  await eventually('its scope has gone', () => !existsSync(`/sys/fs/cgroup/machine.slice/machine-${name}.scope`));
  assert.equal(sh(`systemctl list-units --all --plain --no-legend 'machine-${name}*'`), '');
}
