/** --ambient-capability= and --no-new-privileges=, with users, beside systemd-nspawn. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { needs, root, tool } from '../support/needs.ts';
import { busybox, busyboxTree, copyTree, debian, debianTree } from '../support/tree.ts';
import { ours, same, theirs } from './support.ts';

const beside = needs([root, debian, tool('systemd-nspawn')]);
const check = needs([root, busybox]);

const masks = "grep -E '^(Uid|Gid|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs):' /proc/self/status";
/** Of root, systemd-nspawn leaves all capabilities inheritable (CVE-2022-24769), we only ambient ones. */
const inheritable = "grep '^CapInh:' /proc/self/status";

const COMBINATIONS: string[][] = [
  ['--ambient-capability=CAP_KILL'],
  ['--ambient-capability=CAP_KILL', '--as-pid2'],
  ['--ambient-capability=cap_kill,5', '--ambient-capability=cap_chown', '--user=nobody'],
  ['--ambient-capability=CAP_KILL', '--user=nobody', '--as-pid2', '--chdir=/'],
  ['--ambient-capability=CAP_SYS_TIME', '--capability=CAP_SYS_TIME', '--user=nobody'],
  ['--ambient-capability=CAP_NET_ADMIN', '--private-network', '--user=nobody'],
  ['--ambient-capability=CAP_BPF', '--capability=all', '--user=nobody'],
  ['--ambient-capability=CAP_KILL', '--user=nobody', '--no-new-privileges=yes'],
  ['--ambient-capability=CAP_KILL', '--no-new-privileges=yes', '--drop-capability=CAP_CHOWN'],
  ['--ambient-capability=CAP_KILL', '--private-users=pick'],
  ['--ambient-capability=CAP_KILL', '--private-users=pick', '--user=nobody', '--no-new-privileges=yes'],
  ['--no-new-privileges=yes', '--private-users=pick', '--private-network'],
  ['--ambient-capability=', '--user=nobody'],
  ['--no-new-privileges=yes', '--user=nobody'],
  ['--no-new-privileges=yes', '--user=nobody', '--as-pid2'],
  ['--no-new-privileges=no', '--user=nobody'],
];

for (const options of COMBINATIONS) {
  beside(`the rights with ${options.join(' ')}`, () => {
    const isRoot = !options.includes('--user=nobody');
    const lines = same(options, isRoot ? masks : `${masks}; ${inheritable}`)
      .trimEnd()
      .split('\n');
    assert.is(lines.length, isRoot ? 7 : 8);
  });
}

check('ambient capabilities of root are inheritable, and no others', () => {
  const { stdout } = ours(
    ...['-D', busyboxTree(), '--volatile=overlay', '--ambient-capability=CAP_KILL'],
    ...['--', '/bin/sh', '-c', inheritable],
  );
  assert.is(stdout, 'CapInh:\t0000000000000020\n');
});

check('what an ambient capability allows, a user can do', () => {
  const take = ['--', '/bin/sh', '-c', 'chown 0 /home/guest && id -u && ls -ldn /home/guest | cut -d " " -f 7-9'];
  const as = (...options: string[]) =>
    ours('-D', busyboxTree(), '--volatile=overlay', '--user=guest', ...options, ...take);
  assert.is(as().status, 1);
  assert.is(as('--ambient-capability=CAP_FOWNER').status, 1);
  const { stdout, status } = as('--ambient-capability=CAP_CHOWN');
  assert.is(status, 0);
  assert.match(stdout, /^1000\n/);
});

beside('with no new privileges neither setuid programs nor file capabilities do anything', () => {
  using copy = copyTree(debianTree());
  const script =
    'cp /bin/sed /usr/local/bin/set; chown 0 /usr/local/bin/set; chmod 4755 /usr/local/bin/set; ls -ln /usr/local/bin/set | cut -c 1-10';
  assert.is(ours('-D', copy.path, '--', '/bin/sh', '-c', script).stdout, '-rwsr-xr-x\n');
  const show = '/usr/local/bin/set -n "/^Uid/p; /^CapEff/p" /proc/self/status';
  const capable = 'cp /bin/sed /usr/local/bin/capable; setcap cap_kill+ep /usr/local/bin/capable';
  assert.is(ours('-D', copy.path, '--', '/bin/sh', '-c', capable).status, 0);
  const both = `${show}; ${show.replace('/usr/local/bin/set', '/usr/local/bin/capable')}`;
  assert.match(same(['-u', 'nobody'], both, copy.path), /^Uid:\t65534\t0\t/);
  const without = same(['-u', 'nobody', '--no-new-privileges=yes'], both, copy.path);
  assert.match(without, /^Uid:\t65534\t65534\t65534\t65534\nCapEff:\t0+\nUid:\t65534.*\nCapEff:\t0+\n$/);
});

beside('the capabilities are listed as systemd-nspawn lists them', () => {
  for (const option of ['--capability=help', '--drop-capability=help', '--ambient-capability=help']) {
    const { stdout, status } = ours(option);
    assert.is(stdout, theirs('--capability=help').stdout);
    assert.is(status, 0);
  }
});

const REFUSED: [words: string[], line: RegExp][] = [
  [['--ambient-capability=CAP_KILL', '-b'], /--boot and --ambient-capability= may not be combined/],
  [['--ambient-capability=all'], /--ambient-capability= takes capabilities such as /],
  [['--ambient-capability=all', '--capability=all'], /--ambient-capability= takes capabilities such as /],
  [
    ['--ambient-capability=CAP_NO'],
    /--ambient-capability= takes capabilities such as CAP_NET_ADMIN, separated by commas, not "CAP_NO"/,
  ],
  [['--ambient-capability=CAP_KILL,CAP_SYS_TIME'], /has CAP_SYS_TIME, which the container does not retain/],
  [['--ambient-capability=CAP_KILL', '--drop-capability=CAP_KILL'], /has CAP_KILL, which the container does not/],
  [['--ambient-capability=CAP_KILL', '--drop-capability=all'], /has CAP_KILL, which the container does not/],
  [
    ['--ambient-capability=CAP_NET_BIND_SERVICE', '--private-users=pick'],
    /has CAP_NET_BIND_SERVICE, which the container does not retain/,
  ],
  [['--ambient-capability=CAP_NET_ADMIN'], /has CAP_NET_ADMIN, which the container does not retain/],
];
for (const [words, line] of REFUSED) {
  check(`refuses ${words.join(' ')}`, () => {
    const { status, stderr } = ours(
      '-D',
      busyboxTree(),
      ...words,
      ...(words.includes('-b') ? [] : ['--', '/bin/true']),
    );
    assert.is(status, 1);
    assert.match(stderr, line);
  });
}

test.run();
