/** Linux 6.1: what a container's root can be made of, which takes other calls than with later kernels. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { busyboxTree, copyTree } from '../../support/tree.ts';
import { ends, inMachine, sh } from '../support.ts';

const it = inMachine();

const run = (options: string, script = 'echo made > /made; cat /made') =>
  ends(`nspawn -q -P --timezone=off --resolv-conf=off ${options} -- /bin/sh -c '${script}' </dev/null`);

const kinds: [what: string, options: string][] = [
  ['a tree', ''],
  ['an ephemeral root', '-x'],
  ['a volatile overlay', '--volatile=overlay'],
  ['a private network', '--private-network'],
  ['process 2', '-a'],
  ['users of its own, mapped', '--private-users=pick --private-users-ownership=map'],
  ['users of its own, ephemeral', '-U -x'],
  ['users of its own, volatile', '-U --volatile=overlay'],
];

for (const [what, options] of kinds) {
  it(`${what} (${options || 'no option'})`, () => {
    using tree = copyTree(busyboxTree());
    assert.equal(run(`-D ${tree.path} ${options}`), { status: 0, stdout: 'made\n', stderr: '' });
  });
}

it('a terminal, also with users of its own', () => {
  using tree = copyTree(busyboxTree());
  for (const options of ['', '-U']) {
    const line = `nspawn -q --timezone=off --resolv-conf=off -D ${tree.path} ${options} -- tty </dev/null`;
    assert.equal(ends(line), { status: 0, stdout: '/dev/console\r\n', stderr: '' });
  }
});

it('an overlay, and the machine’s own OS', () => {
  using tree = copyTree(busyboxTree());
  sh('mkdir -p /var/tmp/lower /var/tmp/upper && echo below > /var/tmp/lower/file');
  const script = 'cat /mnt/file; echo above > /mnt/new';
  const layered = run(`-D ${tree.path} --overlay=/var/tmp/lower:/var/tmp/upper:/mnt`, script);
  assert.equal(layered, { status: 0, stdout: 'below\n', stderr: '' });
  assert.is(sh('cat /var/tmp/upper/new'), 'above');
  assert.is(run('-D / --volatile=overlay', 'echo x > /etc/nspawn-was-here').status, 0);
  assert.is(ends('test -e /etc/nspawn-was-here').status, 1);
});

it('what is inaccessible is empty, in a container with users of its own as well', () => {
  const script = 'ls /etc | wc -l; cat /proc/version; (ls /dev | grep -q null) && echo devices';
  for (const users of ['', '-U']) {
    const { stdout } = run(
      `-D ${busyboxTree()} --read-only ${users} --inaccessible=/etc --inaccessible=/proc/version`,
      script,
    );
    assert.is(stdout, '0\ndevices\n');
  }
});

it('an ordinary user starts containers', () => {
  for (const option of ['--volatile=overlay', '-x']) {
    const words = `nspawn -q -P -D / ${option} -- sh -c "id -u; echo x > /etc/new; cat /etc/new"`;
    const { status, stdout, stderr } = ends(`runuser -u guest -- ${words} </dev/null`);
    assert.equal([status, stdout, stderr], [0, '0\nx\n', ''], option);
  }
  assert.is(sh('ls -A /var/tmp | grep -c nspawn- || true'), '0');
});

test.run();
