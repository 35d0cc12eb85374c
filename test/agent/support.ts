/** What the tests of agents have in common. */
import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { type Agent, type AgentOptions, startAgent } from '../../syscalls/agent/agent.ts';
import { O } from '../../syscalls/constants.ts';
import { type OwnedFd, owned, passableFd, readableWithin } from '../../syscalls/fd.ts';
import { type Ending, reapIfEnded } from '../../syscalls/process.ts';
import { syscall } from '../../syscalls/syscall.ts';

/** An agent without namespaces of its own. */
export const plainAgent = (options: Partial<AgentOptions> = {}): Agent =>
  startAgent({ namespaces: 0n, fds: [], dieWithParent: true, ...options });

/** A pipe(2) whose ends can be handed to agents. */
export function pipe(): { read: OwnedFd; write: OwnedFd } & Disposable {
  const pair = new Int32Array(2);
  syscall('pipe2', { out: new Uint8Array(pair.buffer) }, O.CLOEXEC);
  const [read, write] = [owned(passableFd(pair[0]!)), owned(passableFd(pair[1]!))];
  return {
    read,
    write,
    [Symbol.dispose]() {
      read[Symbol.dispose]();
      write[Symbol.dispose]();
    },
  };
}

/** Waits until there is something to read, and reads it as text; '' at the end. */
export function readText(fd: number): string {
  const bytes = new Uint8Array(65536);
  return Buffer.from(bytes.subarray(0, syscall('read', fd, { out: bytes }, bytes.length))).toString();
}

/** The numbers of a process's descriptors, without the one that lists them. */
export function openFds(pid: number | 'self'): number[] {
  const isStillOpen = (fd: string) => lstatSync(`/proc/${pid}/fd/${fd}`, { throwIfNoEntry: false }) !== undefined;
  return readdirSync(`/proc/${pid}/fd`)
    .filter(isStillOpen)
    .map(Number)
    .sort((a, b) => a - b);
}

/** Fields of proc_pid_stat(5); undefined when there is no such process. */
export function statusOf(pid: number): { name: string; state: string; parent: number } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [, name, state, parent] = /\((.*)\) (.) (\d+)/s.exec(stat)!;
    return { name: name!, state: state!, parent: Number(parent) };
  } catch {
    return undefined;
  }
}

/** Living and dead processes that a process has not reaped. */
export const childrenOf = (parent: number): number[] =>
  readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .map(Number)
    .filter(pid => statusOf(pid)?.parent === parent);

/** Waits until a condition is met; fails when it never is. */
export async function eventually(what: string, condition: () => boolean): Promise<void> {
  for (let tries = 0; tries < 2000; tries++) {
    if (condition()) return;
    await setTimeout(10);
  }
  assert.unreachable(`never: ${what}`);
}

/** Waits for the end of a child of ours, and reaps it. */
export function endOf(pidfd: number): Ending {
  assert.ok(readableWithin(pidfd, 60), 'it does not end');
  return reapIfEnded(pidfd)!.ending;
}

/** What a function throws, which must be of this class. */
export function thrown<E extends Error>(type: new (...args: never[]) => E, body: () => unknown): E {
  try {
    body();
  } catch (error) {
    assert.instance(error, type);
    return error as E;
  }
  return assert.unreachable(`no ${type.name}`) as never;
}
