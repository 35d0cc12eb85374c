/** The library inside programs of all kinds, each in a process of its own. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { O } from '../../syscalls/constants.ts';
import { eventually } from '../console/support.ts';
import { needs, root } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox } from '../support/tree.ts';
import { shell } from './support.ts';

const it = needs([root, busybox]);
const CHECKOUT = resolve(import.meta.dirname, '../..');

/** A directory with the package nspawn installed. */
const directory = temporaryDirectory();
mkdirSync(join(directory.path, 'node_modules'));
symlinkSync(CHECKOUT, join(directory.path, 'node_modules/nspawn'));
test.after(() => directory[Symbol.dispose]());

/** What all the programs begin with: `shell(script)` makes options for a container. */
const HEAD = `
  import { spawn } from 'nspawn';
  const shell = (script, more) => ({ ...${JSON.stringify(shell(''))}, command: ['/bin/sh', '-c', script], ...more });
`;

/** Runs a program to its end. \`redirections\` are a shell's. */
function run(program: string, redirections = ''): { status: number | null; stdout: string; stderr: string } {
  const file = join(directory.path, 'program.ts');
  writeFileSync(file, HEAD + program);
  const command = ['-c', `exec "$0" "$1" ${redirections}`, process.execPath, file];
  const { status, stdout, stderr } = spawnSync('sh', command, { encoding: 'utf8', timeout: 60_000 });
  return { status, stdout, stderr };
}

const ENDS_WELL = { status: 0, stderr: '' };

it('a program ends by itself after its last container, and not before', () => {
  const program = `
    const container = await spawn(shell('sleep 0.3; echo out; exit 3'));
    container.exited.then(ended => console.log('exited', ended.exitStatus));
    console.log('main is over');
  `;
  assert.equal(run(program), { ...ENDS_WELL, stdout: 'main is over\nexited 3\n' });
});

it('the same on a terminal, and without anyone who waits', () => {
  const program = `
    import { existsSync } from 'node:fs';
    const { pid } = await spawn(shell('sleep 0.3; echo out; exit 3', { stdio: 'pty' }));
    process.on('exit', () => console.log(existsSync('/proc/' + pid) ? 'it runs' : 'it has ended'));
  `;
  assert.equal(run(program), { ...ENDS_WELL, stdout: 'it has ended\n' });
});

it('a program that is over takes its containers along', async () => {
  const { stdout } = run(`
    const container = await spawn(shell('sleep 1000'));
    console.log(container.pid);
    process.exit();
  `);
  const pid = Number(stdout);
  assert.ok(pid > 0);
  await eventually('the container is gone', () => !isAlive(pid));
});

function isAlive(pid: number): boolean {
  // A zombie belongs to whoever is process 1 here.
  const { stdout } = spawnSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' });
  return stdout.trim() !== '' && !stdout.startsWith('Z');
}

for (const redirections of ['<&-', '<&- >&-', '<&- >&- 2>&-']) {
  it(`from a process with closed streams: ${redirections}`, () => {
    const result = join(directory.path, 'result');
    const program = `
      import { writeFileSync } from 'node:fs';
      const results = [];
      for (const stdio of ['pipe', 'pty']) {
        const container = await spawn(shell('read line; echo got $line', { stdio }));
        container.stdin.write('words\\n');
        let text = '';
        for await (const chunk of container.stdout) text += chunk;
        results.push(text, (await container.exited).exitStatus);
      }
      const { exitStatus } = await (await spawn(shell('exit 5', { stdio: 'inherit' }))).exited;
      writeFileSync('${result}', JSON.stringify([...results, exitStatus]));
    `;
    assert.is(run(program, redirections).status, 0);
    const text = spawnSync('cat', [result], { encoding: 'utf8' }).stdout;
    assert.equal(JSON.parse(text), ['got words\n', 0, 'words\r\ngot words\r\n', 0, 5]);
  });
}

it("SIGCHLD listeners of the program's own, added and taken away", () => {
  const program = `
    let heard = 0;
    const listener = () => heard++;
    process.on('SIGCHLD', listener);
    const one = await spawn(shell('exit 3'));
    console.log((await one.exited).exitStatus);
    while (!heard) await Bun.sleep(1);
    process.off('SIGCHLD', listener);
    const two = await spawn(shell('sleep 0.1; exit 4'));
    process.removeAllListeners('SIGCHLD');
    console.log((await two.exited).exitStatus);
    const three = await spawn(shell('exit 5'));
    console.log((await three.exited).exitStatus, process.listenerCount('SIGCHLD'));
  `;
  assert.equal(run(program), { ...ENDS_WELL, stdout: '3\n4\n5 0\n' });
});

it('next to other child processes, whose ends are their own', () => {
  const program = `
    import { spawn as spawnProcess } from 'node:child_process';
    import { once } from 'node:events';
    const numbers = Array.from({ length: 40 }, (_, i) => i);
    const statuses = await Promise.all(numbers.map(async i => {
      switch (i % 3) {
        case 0: return await Bun.spawn(['sh', '-c', 'sleep 0.0' + i % 7 + '; exit ' + i]).exited;
        case 1: return (await once(spawnProcess('sh', ['-c', 'sleep 0.0' + i % 7 + '; exit ' + i]), 'exit'))[0];
        default: return (await (await spawn(shell('sleep 0.0' + i % 7 + '; exit ' + i))).exited).exitStatus;
      }
    }));
    console.log(statuses.every((status, i) => status === i), Bun.spawnSync(['sh', '-c', 'exit 9']).exitCode);
  `;
  assert.equal(run(program), { ...ENDS_WELL, stdout: 'true 9\n' });
});

it('a payload that inherits pipes which the program has written to can rely on them to block', () => {
  const program = `
    process.stdout.write('from the program\\n');
    const { exitStatus } = await (await spawn(shell(
      'cat /proc/self/fdinfo/1; head -c 300000 /dev/zero | tr "\\\\0" x', { stdio: 'inherit' }))).exited;
    process.exit(exitStatus);
  `;
  const { status, stdout } = run(program, '| { sleep 0.3; cat; }');
  assert.is(status, 0);
  const [, flags] = /^from the program\npos:\t0\nflags:\t(\d+)\n/.exec(stdout)!;
  assert.is(Number.parseInt(flags!, 8) & O.NONBLOCK, 0);
  assert.match(stdout, /\nx{300000}$/);
});

it('the example of the documentation', () => {
  const example = join(CHECKOUT, 'examples/library.ts');
  const { status, stdout, stderr } = spawnSync(process.execPath, [example], { encoding: 'utf8' });
  assert.equal({ status, stderr }, ENDS_WELL);
  assert.is(stdout, 'example runs process 1\nand may write\nexit status 0\n');
});

test.run();
