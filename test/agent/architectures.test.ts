/**
 * The agent's executable for each architecture, run by itself: on this machine where it has that architecture, else
 * by qemu's emulation of user programs. Only the numbers of system calls differ.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { suite, type Test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type Arena,
  BECOME_INIT_CALL,
  releaseArena,
  takeArena,
  viewAll,
  writeBatch,
  writeOps,
} from '../../syscalls/agent/arena.ts';
import { ARENA_ADDRESS, BATCH, HEADER, OP, WILL } from '../../syscalls/agent/layout.ts';
import { agentElf } from '../../syscalls/agent/machine-code.ts';
import { type Call, call, resultOf } from '../../syscalls/call.ts';
import { AF, AT, MFD, SIG, SOCK } from '../../syscalls/constants.ts';
import { closeFd, readableWithin } from '../../syscalls/fd.ts';
import { ALL_SIGNALS, NO_SIGNALS, setSignalMask } from '../../syscalls/process.ts';
import { syscall } from '../../syscalls/syscall.ts';
import { arm64 } from '../../syscalls/tables/arm64.ts';
import { x86_64 } from '../../syscalls/tables/x86_64.ts';
import { needs, tool } from '../support/needs.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';
import { pipe, readText } from './support.ts';

type Numbers = Readonly<Record<string, number>>;

/** Seconds within which an agent answers, or ends. */
const SECONDS = 60;
const [EBADF, ENOENT] = [-9, -2];

/** An agent that runs an executable of ours, and this end of its socket. */
interface Running extends Disposable {
  child: ChildProcess;
  arena: Arena;
  /** Has it run calls; false when its end of the socket was closed. */
  run(calls: readonly Call[]): { results: (number | undefined)[]; isBack: boolean };
  writeWill(calls: readonly Call[]): void;
  /** Closes this end of the socket. */
  leave(): void;
}

function start(command: readonly string[], numbers: Numbers, fds: readonly number[]): Running {
  const pair = new Int32Array(2);
  syscall('socketpair', AF.UNIX, SOCK.STREAM | SOCK.CLOEXEC, 0, { out: new Uint8Array(pair.buffer) });
  const [control, theirs] = [pair[0]!, pair[1]!];
  const arena = takeArena();
  viewAll(arena);
  const [program, ...args] = command;
  const child = spawn(program!, args, { stdio: ['ignore', 'inherit', 'inherit', theirs, arena.fd, ...fds] });
  closeFd(theirs);
  let isOpen = true;
  const leave = () => {
    if (isOpen) closeFd(control);
    isOpen = false;
  };
  /** Our ops have this machine's numbers. */
  const translate = (calls: readonly Call[], opsAt: number) => {
    for (const [i, { name }] of calls.entries()) {
      if (name !== BECOME_INIT_CALL.name) arena.words[(opsAt + i * OP.size + OP.number) / 8] = BigInt(numbers[name]!);
    }
  };
  return {
    child,
    arena,
    run(calls) {
      const batch = writeBatch(arena, calls);
      translate(calls, HEADER.size + BATCH.ops);
      batch.startAt(0);
      const token = new Uint8Array(1);
      syscall('write', control, token, 1);
      assert.ok(readableWithin(control, SECONDS), 'no answer');
      const isBack = syscall('read', control, { out: token }, 1) === 1;
      batch.copyBack();
      return { results: calls.map((_, i) => batch.result(i)), isBack };
    },
    writeWill(calls) {
      const opsAt = WILL.start + BATCH.ops;
      const from = opsAt + calls.length * OP.size;
      writeOps(arena, calls, opsAt, { from, to: from + WILL.dataPerSlot });
      translate(calls, opsAt);
      arena.words[(WILL.start + BATCH.count) / 8] = BigInt(calls.length);
      arena.words[HEADER.will / 8] = BigInt(ARENA_ADDRESS + WILL.start);
    },
    leave,
    [Symbol.dispose]() {
      leave();
      child.kill('SIGKILL');
      releaseArena(arena, false);
    },
  };
}

async function ending(child: ChildProcess): Promise<number | string> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return child.exitCode ?? child.signalCode!;
}

const any = (allowed: Call): Call => ({ ...allowed, allow: 'any' });
const text = (value: string) => Buffer.from(value);

function define(within: Test, architecture: 'x86_64' | 'arm64', numbers: Numbers, emulator: string | undefined): void {
  let directory: TemporaryDirectory;
  let command: string[];
  within.before(() => {
    directory = temporaryDirectory();
    const path = join(directory.path, 'agent');
    writeFileSync(path, agentElf(architecture, numbers));
    chmodSync(path, 0o755);
    command = emulator ? [emulator, path] : [path];
  });
  within.after(() => directory[Symbol.dispose]());
  const here = needs(emulator ? [tool(emulator)] : [], within);
  const named = (name: string) => `${architecture}${emulator ? ` by ${emulator}` : ''}: ${name}`;

  here(named('runs batch after batch'), () => {
    using agent = start(command, numbers, []);
    assert.equal(agent.run([call('getpid'), call('getppid')]), {
      results: [agent.child.pid!, process.pid],
      isBack: true,
    });
    const [first, second] = [call('umask', 0o27), call('umask', 0o22)];
    assert.equal(agent.run([first, second, second]).results.slice(1), [0o27, 0o22]);
  });

  here(named('reads and writes memory, and uses earlier results'), () => {
    using agent = start(command, numbers, []);
    const file = call('memfd_create', 'x', MFD.CLOEXEC);
    const content = new Uint8Array(6);
    const root = call('openat', AT.FDCWD, '/', 0, 0);
    const { results } = agent.run([
      file,
      call('write', resultOf(file), text('content'), 7),
      call('lseek', resultOf(file), 3, 0),
      call('read', resultOf(file), { out: content }, 6),
      root,
      call('close', resultOf(root)),
      call('close', resultOf(file)),
    ]);
    assert.equal(results.slice(1, 4), [7, 3, 4]);
    assert.equal(results.slice(5), [0, 0]);
    assert.is(Buffer.from(content).toString(), 'tent\0\0');
  });

  here(named('stops at an error, and at none that is allowed'), () => {
    using agent = start(command, numbers, []);
    const failing = call('close', 9999);
    const missing = call('chdir', '/does/not/exist');
    const stopping = agent.run([{ ...failing, allow: ['EBADF'] }, any(missing), any(failing), failing, call('getpid')]);
    assert.equal(stopping, { results: [EBADF, ENOENT, EBADF, EBADF, undefined], isBack: true });
    const other = agent.run([{ ...failing, allow: ['ENOENT'] }, call('getpid')]);
    assert.equal(other, { results: [EBADF, undefined], isBack: true });
  });

  here(named('takes for an error what is one: -4095 to -1'), () => {
    using agent = start(command, numbers, []);
    // The one file that can be sought to where the position looks negative.
    const memory = call('openat', AT.FDCWD, '/proc/self/mem', 0, 0);
    const seek = (position: number) => call('lseek', resultOf(memory), position, 0);
    const { results } = agent.run([memory, seek(-4097), seek(-4096), seek(2 ** 40), seek(-4095), call('getpid')]);
    assert.equal(results.slice(1), [-4097, -4096, 2 ** 40, -4095, undefined]);
  });

  here(named('ends with 1 when nobody is there any more'), async () => {
    using agent = start(command, numbers, []);
    agent.run([call('getpid')]);
    agent.leave();
    assert.is(await ending(agent.child), 1);
  });

  here(
    named('carries out the will when nobody is there any more, each call whatever became of the others'),
    async () => {
      using ends = pipe();
      using agent = start(command, numbers, [ends.write.fd]);
      ends.write[Symbol.dispose]();
      agent.run([call('getpid')]);
      const write = (word: string) => any(call('write', 5, text(word), word.length));
      agent.writeWill([write('one '), any(call('close', 9999)), write('two')]);
      agent.leave();
      assert.is(await ending(agent.child), 1);
      assert.is(readText(ends.read.fd), 'one two');
      assert.is(readText(ends.read.fd), '');
    },
  );

  here(named('becomes an init that ends as its child does'), async () => {
    const becoming = [setSignalMask(ALL_SIGNALS), BECOME_INIT_CALL];
    for (const [calls, status] of [
      [[call('exit_group', 5)], 5],
      [[call('exit_group', 0)], 0],
    ] as const) {
      using agent = start(command, numbers, []);
      const { results, isBack } = agent.run([...becoming, ...calls]);
      assert.equal([results.slice(0, 2), isBack], [[0, 0], false]);
      assert.is(await ending(agent.child), status);
    }
    using agent = start(command, numbers, []);
    const self = call('getpid');
    assert.is(agent.run([...becoming, self, call('kill', resultOf(self), SIG.KILL)]).isBack, false);
    assert.is(await ending(agent.child), 255);
  });

  here(named('as an init hands signals on'), async () => {
    using agent = start(command, numbers, []);
    agent.run([setSignalMask(ALL_SIGNALS), BECOME_INIT_CALL, call('getpid')]);
    agent.child.kill('SIGTERM');
    // The child ends as soon as it lets the signal in.
    assert.is(agent.run([setSignalMask(NO_SIGNALS), call('ppoll', null, 0, null, null, 0)]).isBack, false);
    assert.is(await ending(agent.child), 255);
  });
}

for (const [architecture, arch, numbers, emulator] of [
  ['x86_64', 'x64', x86_64, 'qemu-x86_64-static'],
  ['arm64', 'arm64', arm64, 'qemu-aarch64-static'],
] as const) {
  const within = suite(architecture);
  define(within, architecture, numbers, process.arch === arch ? undefined : emulator);
  within.run();
}
