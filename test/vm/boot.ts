/** An OS that boots on a host with cgroups of whatever version. */
import { readdirSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { debianTree } from '../support/tree.ts';
import { eventually, start } from './machines.ts';
import { ends, inMachine, sh } from './support.ts';

const inside = (name: string, command: string) => ends(`nspawn exec ${name} -- ${command} </dev/null`).stdout.trim();

/** Where the host keeps a container's units. */
const cgroupsOf = (name: string) => ends(`find /sys/fs/cgroup -type d -name '*${name}*'`).stdout;

/** Makes the tests, and runs those of this file. */
export function testBooting(): void {
  const it = inMachine();

  for (const options of [[], ['--register=no', '--keep-unit']]) {
    const name = `os${options.length}`;
    it(`Debian boots with no failed unit and is powered off; ${options.join(' ') || 'registered'}`, async () => {
      const words = ['-q', '-bD', debianTree(), '--volatile=overlay', '--console=passive', '-M', name, ...options];
      await using running = start('nspawn', ...words);
      await eventually('it is up', () => {
        if (running.child.exitCode !== null) throw new Error(`it ended: ${running.said()}`);
        return /^(running|degraded)$/.test(inside(name, 'systemctl is-system-running'));
      });
      assert.is(inside(name, 'systemctl --failed --no-legend --plain'), '');
      assert.is(inside(name, 'systemctl is-active multi-user.target'), 'active');
      assert.is(inside(name, 'systemd-detect-virt'), 'systemd-nspawn');
      sh(`nspawn poweroff ${name}`);
      assert.is(await running.ended, 0);
      await eventually('its cgroups have gone', () => cgroupsOf(name) === '');
    });
  }

  it('nothing is left', () => {
    assert.equal(readdirSync('/run/nspawn/containers'), []);
    assert.is(sh('grep -c nspawn /proc/self/mountinfo || true'), '0');
  });

  test.run();
}
