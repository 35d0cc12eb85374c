/** What machinectl and systemctl of a real host can do to containers that are booted. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { debianTree } from '../../support/tree.ts';
import { eventually, isGone, onBusybox, scopes, start } from '../machines.ts';
import { ends, inMachine, sh } from '../support.ts';

const it = inMachine();

const boot = (name: string, ...options: string[]) =>
  ['nspawn', '-q', '-bD', debianTree(), '--volatile=overlay', '--console=passive', '-M', name, ...options] as const;
/** What a script that says something says in it; at the end of its input machinectl may lose what comes after that. */
function inside(name: string, script: string): string {
  for (let tries = 0; tries < 10; tries++) {
    const { stdout } = ends(`machinectl shell ${name} /bin/sh -c '${script}' </dev/null`);
    if (stdout.trim()) return stdout.replaceAll('\r', '');
  }
  return '';
}
const isUp = (name: string) =>
  eventually(`${name} is up`, () => /^(running|degraded)$/m.test(inside(name, 'systemctl is-system-running')));

it('a booted one has shell, login, and cgroups below the scope; it is restarted, and ended in order by systemd', async () => {
  await using running = start(...boot('full'));
  await isUp('full');
  assert.match(inside('full', 'cat /proc/1/cgroup'), /^0::\/init\.scope$/m);
  assert.match(inside('full', 'cat /sys/fs/cgroup/cgroup.controllers'), /^cpuset cpu io memory .*pids/m);
  assert.equal(
    sh('ls -d /sys/fs/cgroup/machine.slice/machine-full.scope/*/'),
    '/sys/fs/cgroup/machine.slice/machine-full.scope/payload/',
  );
  assert.match(sh('(sleep 5; echo) | timeout 60 script -qc "machinectl login full" /dev/null || true'), /login:/);
  assert.match(sh('machinectl status full'), /OS: Debian GNU\/Linux 12.*payload.*init\.scope/s);
  const leader = sh('machinectl show --value --property=Leader full');
  sh('machinectl reboot full');
  await eventually('it has another leader', () => {
    const now = ends('machinectl show --value --property=Leader full').stdout.trim();
    return now !== '' && now !== leader;
  });
  await isUp('full');
  sh('systemctl stop machine-full.scope');
  assert.is(await running.ended, 0);
  await isGone('full');
});

it('one with users of its own boots, and its init manages the cgroup that it gets in the scope', async () => {
  await using running = start(...boot('users', '-U'));
  await isUp('users');
  const payload = '/sys/fs/cgroup/machine.slice/machine-users.scope/payload';
  const owner = Number(sh(`stat -c %u ${payload}`));
  assert.ok(owner >= 0x80000, `${owner}`);
  assert.is(sh(`stat -c %u ${payload}/init.scope`), `${owner}`);
  sh('machinectl terminate users');
  assert.is(await running.ended, 0);
  await isGone('users');
});

it('in a service with --keep-unit that is what is registered; in a session it is refused', async () => {
  const unit = ['--unit=kept', '--collect', '-p', 'Delegate=yes', '-p', 'KillMode=mixed', '-p', 'Type=notify'];
  sh(['systemd-run', '-q', ...unit, ...boot('kept', '--keep-unit')].join(' '));
  await isUp('kept');
  assert.match(sh('machinectl status kept'), /Unit: kept\.service/);
  assert.not.match(scopes().join(), /kept/);
  sh('machinectl poweroff kept');
  await eventually('the service has ended', () => ends('systemctl is-active kept').status !== 0);
  await isGone('kept');
  const session = 'systemd-run -q --scope --slice=user-1000.slice';
  const words = [...onBusybox('refused', '--keep-unit'), '/bin/cat', '/proc/self/cgroup'];
  const { status, stdout, stderr } = ends(`${session} ${words.join(' ')}`);
  assert.is(status, 1, `${stdout}${stderr}`);
  assert.match(stderr, /--keep-unit may not be used from a user session/);
});

test.run();
