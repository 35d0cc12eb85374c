/** The library: one container, from its start to its end. */
import { once } from 'node:events';
import { existsSync, readFileSync, readlinkSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Logger, type LogLevel, type SpawnOptions, spawn, UsageError } from '../../src/index.ts';
import { closeFd } from '../../syscalls/fd.ts';
import { eventually, openDescriptors, pipe, printedChecker, printing, textOf } from '../console/support.ts';
import { needs, root } from '../support/needs.ts';
import { busybox } from '../support/tree.ts';
import { shell } from './support.ts';

const it = needs([root, busybox]);

it('three pipes, and the exit status', async () => {
  const container = await spawn(shell('read line; echo "got $line"; echo "an error" >&2; exit 7'));
  container.stdin!.end('words\n');
  const [output, errors, ended] = await Promise.all([
    textOf(container.stdout!),
    textOf(container.stderr!),
    container.exited,
  ]);
  assert.equal([output, errors, ended], ['got words\n', 'an error\n', { exitStatus: 7 }]);
});

it('output can be read after the end', async () => {
  const container = await spawn(shell('echo out; echo err >&2'));
  await container.exited;
  assert.equal(await Promise.all([textOf(container.stdout!), textOf(container.stderr!)]), ['out\n', 'err\n']);
});

it('with patience, what ends soon has ended when spawn() resolves', async () => {
  const short = await spawn(shell('echo out; exit 3', { patience: 60_000 }));
  assert.equal([short.ending, await short.exited], [{ exitStatus: 3 }, { exitStatus: 3 }]);
  assert.is(await textOf(short.stdout!), 'out\n');
  const long = await spawn(shell('read line; exit 4', { patience: 1 }));
  assert.is(long.ending, undefined);
  long.stdin!.end('\n');
  assert.equal([await long.exited, long.ending], [{ exitStatus: 4 }, { exitStatus: 4 }]);
});

it('5 MB just before the end', async () => {
  const container = await spawn(shell(printing(5 << 20)));
  const checker = printedChecker();
  for await (const chunk of container.stdout!) checker.check(chunk);
  assert.equal([checker.total(), await container.exited], [5 << 20, { exitStatus: 0 }]);
});

it('5 MB of input', async () => {
  const container = await spawn(shell('wc -c'));
  for (let i = 0; i < 5; i++) {
    if (!container.stdin!.write(Buffer.alloc(1 << 20, 'x'))) await once(container.stdin!, 'drain');
  }
  container.stdin!.end();
  assert.is(await textOf(container.stdout!), `${5 << 20}\n`);
});

it('a pseudo terminal, which can be typed on and has a size', async () => {
  const container = await spawn(shell('stty size; stty -echo; tty; read line; stty size; exit 3', { stdio: 'pty' }));
  container.resize(132, 43);
  let text = '';
  container.stdout!.on('data', chunk => (text += chunk));
  await eventually('it has a terminal', () => text.includes('/dev/console'));
  container.resize(60, 20);
  container.stdin!.write('\n');
  assert.equal(await container.exited, { exitStatus: 3 });
  await once(container.stdout!, 'close');
  assert.match(text, /\/dev\/console\r\n20 60\r\n$/);
  assert.is(container.stderr, null);
  container.resize(10, 10); // Has no effect any more, on whatever has its number now.
});

it("descriptors of the caller's, in any order", async () => {
  const [one, two] = [pipe(), pipe()];
  // Standard output is the second, standard error the first.
  const container = await spawn(shell('echo out; echo err >&2', { stdio: [0, two.write, one.write] }));
  assert.equal([container.stdin, container.stdout, container.stderr], [null, null, null]);
  closeFd(one.write);
  closeFd(two.write);
  const { readableFrom } = await import('../../src/streams/readable.ts');
  assert.equal(await Promise.all([textOf(readableFrom(one.read)), textOf(readableFrom(two.read))]), ['err\n', 'out\n']);
  assert.equal(await container.exited, { exitStatus: 0 });
});

it('its process id, machine name and root directory', async () => {
  await using container = await spawn(shell('echo ready; read line', { hostname: 'other' }));
  await once(container.stdout!, 'readable');
  assert.is(container.machine, 'box');
  assert.is(container.directory, shell('').directory);
  assert.match(readFileSync(`/proc/${container.pid}/status`, 'utf8'), /^NSpid:\t\d+\t1$/m);
  assert.is.not(readlinkSync(`/proc/${container.pid}/ns/mnt`), readlinkSync('/proc/self/ns/mnt'));
});

it('kill() ends it by SIGKILL, kill(n) sends a signal; after the end neither does anything', async () => {
  const killed = await spawn(shell('while :; do sleep 1; done'));
  killed.kill();
  assert.equal(await killed.exited, { signal: 9 });
  killed.kill();

  const asked = await spawn(shell("trap 'exit 4' USR1; echo ready; while :; do sleep 0.02; done"));
  await once(asked.stdout!, 'readable');
  asked.kill(10);
  assert.equal(await asked.exited, { exitStatus: 4 });
  asked.kill(10);
});

it('kill() and resize() refuse what is no signal and no size', async () => {
  await using container = await spawn(shell('sleep 1000', { stdio: 'pty' }));
  const refused = (body: () => void, line: string) =>
    assert.throws(body, (error: Error) => error instanceof UsageError && error.message === line);
  const kill = container.kill as (signal: unknown) => void;
  refused(() => kill('SIGTERM'), 'kill takes a signal as a number from 0 to 64, not "SIGTERM"');
  for (const signal of [-1, 65, 1.5, Number.NaN, null]) {
    refused(() => kill(signal), `kill takes a signal as a number from 0 to 64, not ${signal}`);
  }
  refused(() => container.resize(-1, 24), 'resize takes columns as a number from 0 to 65535, not -1');
  refused(() => container.resize(80, 70_000), 'resize takes rows as a number from 0 to 65535, not 70000');
  assert.is(container.ending, undefined);
});

it('terminate() asks where there is a signal for it, else kills', async () => {
  const script = "trap 'exit 4' USR2; echo ready; while :; do sleep 0.02; done";
  const asked = await spawn(shell(script, { killSignal: 12 }));
  assert.ok(asked.canTerminate);
  await once(asked.stdout!, 'readable');
  assert.equal(await asked.terminate(), { exitStatus: 4 });

  const killed = await spawn(shell(script));
  assert.not.ok(killed.canTerminate);
  assert.equal(await killed.terminate(), { signal: 9 });
  assert.equal(await killed.terminate(), { signal: 9 });
});

it('leaving the block of `await using` kills it and waits for its end', async () => {
  let pid: number;
  {
    await using container = await spawn(shell('sleep 1000 & sleep 1000'));
    pid = container.pid;
    assert.ok(existsSync(`/proc/${pid}`));
  }
  assert.not.ok(existsSync(`/proc/${pid}`));
});

for (const [call, reboot] of [['reboot', 'restart'] as const, ['halt', 'power off'] as const]) {
  it(`a payload that calls ${call} asks for "${reboot}"`, async () => {
    const container = await spawn(shell(`${call} -f`));
    assert.is((await container.exited).reboot, reboot);
  });
}

it('with the host’s processes in sight a signal is a signal', async () => {
  const container = await spawn(shell('kill -HUP $$', { shareSystem: true }));
  assert.equal(await container.exited, { signal: 1 });
});

it('what cannot be rejects with a message, and leaves nothing open', async () => {
  const attempts: [SpawnOptions, new (message: string) => Error, RegExp][] = [
    [shell('', { boot: true, asPid2: true }), UsageError, /--boot.*--as-pid2/],
    [shell('', { machine: '-' }), UsageError, /--machine=.*"-"/],
    [shell('', { directory: '/no/such' }), Error, /\/no\/such/],
    [shell('', { command: ['no-such-program'] }), Error, /no-such-program/],
    [
      shell('', { binds: [{ source: '/no/such', destination: '/mnt', readOnly: true, recursive: true }] }),
      Error,
      /\/no\/such/,
    ],
    [shell('', { directory: '/', readOnly: false }), Error, /--volatile/],
  ];
  const attempt = async ([options, kind, message]: (typeof attempts)[number]) => {
    for (const stdio of ['pipe', 'pty', 'inherit'] as const) {
      try {
        await spawn({ ...options, stdio });
      } catch (error) {
        assert.instance(error, kind);
        assert.match((error as Error).message, message);
        continue;
      }
      assert.unreachable(`it started: ${message}`);
    }
  };
  // The first round leaves what the library keeps for itself.
  for (const each of attempts) await attempt(each);
  const before = openDescriptors();
  for (const each of attempts) await attempt(each);
  assert.equal(openDescriptors(), before);
});

it('a logger is told what is done', async () => {
  const lines: string[] = [];
  const keep = (level: LogLevel) => (message: string | (() => string)) =>
    void lines.push(`${level}: ${typeof message === 'string' ? message : message()}`);
  const levels = ['trace', 'debug', 'info', 'warn', 'error'] as const;
  const logger = Object.fromEntries(levels.map(level => [level, keep(level)])) as unknown as Logger;
  await using _ = await spawn(shell('', { logger, timezone: 'symlink' }));
  assert.ok(lines.includes('debug: mounting proc on /proc'));
  assert.ok(lines.some(line => /^warn: .*time zone/.test(line)));
});

test.run();
