/** A network namespace of a test's own: it goes with the last file descriptor and process in it. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import process from 'node:process';
import koffi from 'koffi';
import { Connection } from '../../netlink/index.ts';
import { checked, KernelSocket } from './kernel-socket.ts';

const CLONE_NEWNET = 0x40000000;
const libc = koffi.load(null);
const unshare = libc.func('int unshare(int flags)');
const setns = libc.func('int setns(int fd, int type)');

export class Namespace implements Disposable {
  readonly fd: number;

  /** A new one, or that of an open file, which it takes over. */
  constructor(fd = newNamespace()) {
    this.fd = fd;
  }

  /** The one that a process is in. */
  static ofProcess(pid: number): Namespace {
    return new Namespace(openSync(`/proc/${pid}/ns/net`, 'r'));
  }

  /** A file that names the namespace, for other programs. */
  get path(): string {
    return `/proc/${process.pid}/fd/${this.fd}`;
  }

  socket(): KernelSocket {
    return elsewhere(
      () => checked('setns', setns(this.fd, CLONE_NEWNET)),
      () => new KernelSocket(),
    );
  }

  connect(): Connection {
    return new Connection(this.socket());
  }

  /** Runs a program in the namespace and returns what it writes. */
  run(program: string, ...args: string[]): string {
    return execFileSync('nsenter', [`--net=${this.path}`, program, ...args], { encoding: 'utf8', stdio: 'pipe' });
  }

  /** Runs `ip`; the arguments in one string, apart by spaces. */
  ip(args: string): string {
    return this.run('ip', ...args.split(' '));
  }

  /** Runs lines of `ip` commands, all in one process. */
  ipBatch(lines: readonly string[]): void {
    execFileSync('nsenter', [`--net=${this.path}`, 'ip', '-batch', '-'], { input: lines.join('\n'), stdio: 'pipe' });
  }

  /** What `ip` shows, as objects. */
  ipJson(args: string): Record<string, unknown>[] {
    return JSON.parse(this.ip(`-json ${args}`)) as Record<string, unknown>[];
  }

  /** A process that is in the namespace, and waits to be killed. */
  async process(): Promise<ChildProcess> {
    const command = ['sh', '-c', 'echo ready; exec sleep 60'];
    const child = spawn('nsenter', [`--net=${this.path}`, ...command], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    return child;
  }

  [Symbol.dispose](): void {
    closeSync(this.fd);
  }
}

function newNamespace(): number {
  return elsewhere(
    () => checked('unshare', unshare(CLONE_NEWNET)),
    () => openSync('/proc/thread-self/ns/net', 'r'),
  );
}

/** Does `work` after `enter` took this thread to another namespace, and comes back. */
function elsewhere<T>(enter: () => void, work: () => T): T {
  const home = openSync('/proc/thread-self/ns/net', 'r');
  try {
    enter();
    return work();
  } finally {
    checked('setns', setns(home, CLONE_NEWNET));
    closeSync(home);
  }
}
