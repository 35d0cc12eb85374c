/** The caller's terminal: raw while the console is interactive, and as it was before whatever ends nspawn. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { eventually } from '../console/support.ts';
import { needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox } from '../support/tree.ts';
import { atTerminal, NSPAWN, type Session, shell } from './support.ts';

const it = needs([root, busybox, tool('setsid')]);

/** Runs a payload that says `ready` and waits for a line; `body` sees to its end, then all must be as before. */
async function isRestored(body: (session: Session) => unknown, command: readonly string[] = NSPAWN): Promise<Session> {
  await using session = atTerminal([...command, ...shell('echo ready; read line; exit 3', '-q')]);
  const before = session.settings();
  await session.until('ready\r\n');
  await eventually('the terminal is raw', () => session.settings() !== before);
  await body(session);
  await session.ended;
  await eventually('the terminal is as before', () => session.settings() === before);
  return session;
}

it('restored when the payload exits', async () => {
  const session = await isRestored(({ type }) => type('\r'));
  assert.is(await session.ended, 3);
});

it('restored when it cannot be run', async () => {
  await using session = atTerminal([...NSPAWN, ...shell('', '-q'), '--user=nobody-knows']);
  const before = session.settings();
  await session.ended;
  assert.is(session.settings(), before);
});

it('restored after ^]^]^]', async () => {
  await isRestored(({ type }) => type('\x1d\x1d\x1d'));
});

// SIGTERM and SIGINT end the container first; SIGSEGV stands for a crash of the runtime; SIGKILL leaves it to the janitor.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGSEGV', 'SIGKILL'] as const) {
  it(`restored after ${signal} to nspawn`, async () => {
    const session = await isRestored(({ child }) => child.kill(signal));
    assert.is(await session.ended, signal === 'SIGTERM' || signal === 'SIGINT' ? 1 : signal);
  });
}

for (const accident of [`throw new Error('an accident')`, `Promise.reject(new Error('an accident'))`]) {
  it(`restored after an error that nobody expected, which is told in one line: ${accident}`, async () => {
    using directory = temporaryDirectory();
    const file = join(directory.path, 'accident.ts');
    writeFileSync(file, `process.on('SIGUSR1', () => { ${accident}; });`);
    const [bun, ...main] = NSPAWN;
    const session = await isRestored(({ child }) => child.kill('SIGUSR1'), [bun!, '--preload', file, ...main]);
    assert.is(await session.ended, 1);
    assert.is(session.screen(), 'ready\r\nan accident\r\n');
  });
}

it('restored while nspawn is stopped, and raw again when it goes on', async () => {
  await isRestored(async session => {
    const raw = session.settings();
    session.child.kill('SIGTSTP');
    await eventually('the terminal is not raw', () => session.settings() !== raw);
    // Until then it would go on before it stops.
    await eventually('it is stopped', () =>
      /^State:\tT/m.test(readFileSync(`/proc/${session.child.pid}/status`, 'utf8')),
    );
    session.child.kill('SIGCONT');
    await eventually('the terminal is raw', () => session.settings() === raw);
    session.type('\r');
  });
});

test.run();
