/** An ordinary user boots an OS whose root is one of the user's subordinate ids, in a unit of the user's manager. */
import { readdirSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { debianTree } from '../../support/tree.ts';
import { eventually, start } from '../machines.ts';
import { ends, inMachine, sh } from '../support.ts';

const it = inMachine();

/** The user's ids are of those that --private-users-ownership=chown gives trees to. */
const IDS = '131072';
const TREE = '/home/booter/tree';

it('Debian boots on a tree that belongs to subordinate ids, has a console, is entered and powered off', async () => {
  sh('useradd --create-home booter; loginctl enable-linger booter');
  sh(`for file in /etc/subuid /etc/subgid; do sed -i '/^booter:/d' $file; echo booter:${IDS}:65536 >>$file; done`);
  sh(`chmod 755 /home/booter; cp -a ${debianTree()} ${TREE}`);
  sh(`nspawn -qP -D ${TREE} --private-users=${IDS} --private-users-ownership=chown true`);
  const asUser = 'runuser -u booter -- env -C / XDG_RUNTIME_DIR=/run/user/$(id -u booter)';
  const inScope = `${asUser} systemd-run --user -q --scope`;
  await eventually('the user has a service manager', () => ends(`${inScope} true`).status === 0);

  const boot = `exec ${inScope} -p Delegate=yes nspawn -q -bD ${TREE} --console=read-only -M booted`;
  await using running = start('bash', '-c', boot);
  const inside = (command: string) => ends(`${inScope} nspawn exec booted -- ${command} </dev/null`).stdout.trim();
  await eventually('it is up', () => {
    if (running.child.exitCode !== null) throw new Error(`it ended: ${running.said()}`);
    return /^(running|degraded)$/.test(inside('systemctl is-system-running'));
  });
  assert.is(inside('systemctl --failed --no-legend --plain'), '');
  assert.is(inside('systemctl is-active console-getty'), 'active');
  assert.match(inside('ls -ln /dev/console'), /^crw------- 1 0 /);
  // There may be a hierarchy more for a moment, which systemd-nspawn makes to find out what the kernel has.
  const where = ends(`${inScope} nspawn exec booted -- grep ^0:: /proc/self/cgroup </dev/null`);
  assert.equal(where, { status: 0, stdout: '0::/init.scope\n', stderr: '' });
  sh(`${asUser} nspawn poweroff booted`);
  assert.is(await running.ended, 0, running.said());
  const left = readdirSync('/sys/fs/cgroup', { recursive: true }).filter(path => /nspawn-booted/.test(String(path)));
  assert.equal(left, []);
});

test.run();
