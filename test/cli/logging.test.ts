/** What nspawn logs on standard error, and how. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox, busyboxTree } from '../support/tree.ts';
import { NSPAWN, nspawn, onBusybox, shell } from './support.ts';

const it = needs([root, busybox]);

/** Asks for a time zone link that can't be made, which is worth a warning, and fails. */
const WARNING = shell('exit 3', '--timezone=symlink');
const WARNED = /^(setting the time zone|making the symlink|linking).*(time zone|localtime).*$/;

const linesOf = (text: string): string[] => text.split('\n').slice(0, -1);

it('--log-level= shows a level and all above it', async () => {
  const said = async (level: string, ...options: string[]) => {
    const { status, stdout, stderr } = await nspawn([`--log-level=${level}`, ...options, ...WARNING]);
    assert.equal([status, stdout], [3, '']);
    return linesOf(stderr);
  };
  assert.equal(await said('error'), []);
  const [warning, ...none] = await said('warn');
  assert.match(warning!, WARNED);
  assert.equal(none, []);
  const spawning = `Spawning container box on ${busyboxTree()}.`;
  const failed = 'Container box failed with error code 3.';
  assert.equal(await said('info'), [warning, spawning, failed]);
  const debug = await said('debug');
  for (const line of [warning, spawning, failed, 'mounting proc on /proc']) assert.ok(debug.includes(line!), line);
  assert.not.ok(debug.some(line => line.includes('openat')));
  // What --quiet leaves out is told at level debug.
  assert.equal(await said('info', '-q'), [warning]);
  assert.ok((await said('debug', '-q')).includes(failed));
});

it('--log-format=json: each line is an object with level, time and message', async () => {
  const before = Date.now();
  const { stderr } = await nspawn(['--log-format=json', ...WARNING]);
  const lines = linesOf(stderr).map(line => JSON.parse(line));
  assert.equal(
    lines.map(({ level }) => level),
    ['warn', 'info', 'info'],
  );
  assert.is(lines[2].msg, 'Container box failed with error code 3.');
  for (const { time } of lines) assert.ok(time >= before && time <= Date.now(), `${time}`);
});

it('an error is such a line, too', async () => {
  const { status, stderr } = await nspawn(['--log-format=json', ...onBusybox(), '--', '/no/such']);
  assert.is(status, 1);
  const { level, msg } = JSON.parse(stderr);
  assert.is(level, 'error');
  assert.match(msg, '/no/such');
});

it('whoever does not read standard error does not end the container', async () => {
  const [bun, main] = NSPAWN;
  const words = [bun, main, ...shell('echo out; exit 3', '-P', '--log-level=trace')].map(word => `'${word}'`).join(' ');
  const command = ['bash', '-c', `{ ${words}; echo status $?; } 2> >(exec 0<&-)`];
  assert.is((await nspawn([], { command })).stdout, 'out\nstatus 3\n');
});

/** Calls of which a whole line is compared with strace's. */
const SAME =
  'fchdir pivot_root umount2 mkdirat symlinkat unlinkat fsopen fsconfig fsmount move_mount open_tree mount chdir sethostname close dup3 setresuid setsid'.split(
    ' ',
  );
/** How the agent starts, is woken and answers. */
const MACHINERY = ['read', 'sendto', 'recvfrom', 'execveat', 'mmap'];

const nameOf = (line: string): string => /^\w+/.exec(line)?.[0] ?? '';
/** Flags in alphabetical order, and single spaces. */
const normal = (line: string): string =>
  line.replace(/[A-Z_]+(?:\|[A-Z_]+)+/g, flags => flags.split('|').sort().join('|')).replace(/\) +=/, ') =');

needs([root, busybox, tool('strace')])('--log-level=trace shows what strace shows of the agent', async () => {
  using directory = temporaryDirectory();
  const file = join(directory.path, 'strace');
  const command = ['strace', '-f', '-s', '200', '-o', file, ...NSPAWN];
  const { status, stderr } = await nspawn([...onBusybox(), '--log-level=trace', '--', '/bin/true'], { command });
  assert.is(status, 0);
  const [, agent] = /^agent (\d+): pivot_root/m.exec(stderr)!;
  const traced = linesOf(stderr)
    .filter(line => line.startsWith(`agent ${agent}: `))
    .map(line => line.replace(/^agent \d+: /, ''));
  // Between its own start and that of the payload. Calls that were interrupted by other processes' are put together.
  const all = straced(readFileSync(file, 'utf8'), agent!);
  const from = all.findIndex(line => line.startsWith('execveat'));
  const to = all.findIndex(line => line.startsWith('execve('));
  const seen = all.slice(from, to + 1).filter(line => !MACHINERY.includes(nameOf(line)));
  // The agent's own preparation: closing the arena, and its socket at exec.
  assert.equal(seen.slice(0, 2).map(nameOf), ['close', 'fcntl']);
  assert.equal(traced.map(nameOf), seen.slice(2).map(nameOf));
  const compared = (lines: string[]) => lines.filter(line => SAME.includes(nameOf(line))).map(normal);
  assert.equal(compared(traced), compared(seen.slice(2)));
});

/** The calls of one process in a strace log. */
function straced(log: string, pid: string): string[] {
  const lines: string[] = [];
  let begun = '';
  for (const line of linesOf(log)) {
    const [, of, text] = /^(\d+) +(.*)$/.exec(line)!;
    if (of !== pid) continue;
    const [, beginning] = /^(.*?) *<unfinished \.\.\.>$/.exec(text!) ?? [];
    const [, rest] = /^<\.\.\. \w+ resumed>(.*)$/.exec(text!) ?? [];
    if (beginning !== undefined) begun = beginning;
    else lines.push(rest === undefined ? text! : begun + rest);
  }
  return lines;
}

it('--log-level=trace shows calls of nspawn itself, with flags, strings and errors by name', async () => {
  const { stderr } = await nspawn([...onBusybox(), '--log-level=trace', '--', '/bin/true']);
  const lines = linesOf(stderr);
  const hasLine = (pattern: RegExp) =>
    assert.ok(
      lines.some(line => pattern.test(line)),
      `${pattern} in:\n${stderr}`,
    );
  hasLine(
    /^nspawn: openat\(AT_FDCWD, ".*\/busybox-\w+", (O_DIRECTORY\|O_CLOEXEC|O_CLOEXEC\|O_DIRECTORY)(, 00)?\) = \d+$/,
  );
  hasLine(/^nspawn: clone3\(.*CLONE_NEWPID.*\) = \d+$/);
  hasLine(/^nspawn: waitid\(P_PIDFD, \d+, .*WNOHANG\|WEXITED, .*\) = 0$/);
  hasLine(/^nspawn: .* = -1 ENOTTY \(Inappropriate ioctl for device\)$/);
  hasLine(/^agent \d+: mkdirat\(AT_FDCWD, "usr", 0755\) = -1 EEXIST \(File exists\)$/);
  hasLine(/^agent \d+: ioctl\(0, TIOCSCTTY, 0\) = 0$/);
});

test.run();
