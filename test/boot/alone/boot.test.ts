/** Booting Debian with systemd, beside systemd-nspawn; a probe that systemd starts writes down what it finds. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { setTimeout } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { exec } from '../../../src/index.ts';
import { textOf } from '../../console/support.ts';
import { needs, root, tool } from '../../support/needs.ts';
import { temporaryDirectory } from '../../support/temporary.ts';
import { copyTree, debian, debian13, debianTree } from '../../support/tree.ts';

const check = needs([root, debian]);

const NSPAWN = [process.execPath, resolve(import.meta.dirname, '../../../src/cli/main.ts')];
const SYSTEMD_NSPAWN = ['systemd-nspawn', '--register=no', '--keep-unit'];
const LONGEST_BOOT_MS = 180_000;

const UNIT = `
[Unit]
After=multi-user.target console-getty.service
[Service]
Type=oneshot
ExecStart=/bin/sh /probe/script
`;

const VOLATILE = ['--volatile=overlay', '--machine=booted'];

interface Booted {
  /** Exit status, or the name of the signal that ended it. */
  status: number | string;
  /** What it and the container have printed. */
  printed: string;
  /** What the probe has written into files. */
  found: Record<string, string>;
}

/** Boots the Debian tree; `script` runs in it once it is up, with a directory for its files as working directory. */
async function boot(
  script: string,
  {
    tree = debianTree(),
    command = NSPAWN,
    root = VOLATILE,
    options = [] as string[],
    during = async (_: Boot) => {},
  } = {},
) {
  using probe = temporaryDirectory();
  // Root of the container may be somebody else here.
  chmodSync(probe.path, 0o777);
  writeFileSync(join(probe.path, 'script'), `cd /probe\n${script}\n`);
  writeFileSync(join(probe.path, 'probe.service'), UNIT);
  const words = [
    ...['-q', '-b', '-D', tree, ...root, '--link-journal=no', ...options],
    ...[`--bind=${probe.path}:/probe`, `--bind-ro=${probe.path}/probe.service:/etc/systemd/system/probe.service`],
    'systemd.wants=probe.service',
  ];
  const [program, ...first] = command;
  const child = spawn(program!, [...first, ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', text => (printed += text));
  const ended = once(child, 'close');
  const deadline = setTimeout(LONGEST_BOOT_MS, 'too late', { ref: false });
  const has = async (file: string) => {
    while (!existsSync(join(probe.path, file))) {
      if (child.exitCode !== null) throw new Error(`the boot ended before there was ${file}:\n${printed}`);
      await setTimeout(100);
    }
  };
  const shows = async (text: RegExp) => {
    while (!text.test(printed)) await setTimeout(100);
  };
  try {
    await Promise.race([during({ kill: signal => child.kill(signal), has, shows }), ended]);
    if ((await Promise.race([ended, deadline])) === 'too late') throw new Error(`the boot takes too long:\n${printed}`);
  } finally {
    if (child.exitCode === null) child.kill('SIGKILL');
  }
  const files = readdirSync(probe.path).filter(name => !['script', 'probe.service'].includes(name));
  const found = Object.fromEntries(files.map(name => [name, readFileSync(join(probe.path, name), 'utf8')]));
  const booted: Booted = { status: child.exitCode ?? child.signalCode!, printed, found };
  return booted;
}

interface Boot {
  kill(signal: NodeJS.Signals): void;
  /** Waits for a file of the probe's. */
  has(file: string): Promise<void>;
  /** Waits until this is on the console. */
  shows(text: RegExp): Promise<void>;
}

/** The cgroups of the host that have to do with containers. */
function cgroups(): string[] {
  const listed = execFileSync('find', ['/sys/fs/cgroup', '-type', 'd'], { encoding: 'utf8' });
  return listed.split('\n').filter(path => /\/(nspawn-|payload|supervisor)/.test(path));
}

/** systemd-nspawn leaves those that it made for itself. */
function removeCgroupsOfOthers(before: string[]): void {
  const left = cgroups().filter(path => !before.includes(path) && !path.includes('/nspawn-'));
  for (const path of left.toSorted((a, b) => b.length - a.length)) rmdirSync(path);
}

check('Debian boots to a login prompt; no cgroup is left', async () => {
  const before = cgroups();
  const script = 'systemctl is-system-running >state; cat /proc/1/cgroup >cgroup; touch up';
  const { status, printed, found } = await boot(script, {
    during: async ({ has, shows, kill }) => {
      await has('up');
      await shows(/ login: /);
      assert.ok(cgroups().some(path => /\/nspawn-booted-[^/]*\/system\.slice$/.test(path)));
      const inside = 'systemctl is-active multi-user.target; cat /proc/self/cgroup';
      const { stdout, exited } = await exec('booted', { command: ['/bin/sh', '-c', inside] });
      assert.match(await textOf(stdout!), /^active\n(.*\n)*0::\/init\.scope\n$/);
      assert.is(await exited, 0);
      kill('SIGTERM');
    },
  });
  assert.equal([status, /^(running|starting)\n$/.test(found['state']!)], [0, true], found['state']);
  assert.match(printed, /Reached target.*multi-user\.target/);
  // It sees nothing of where it is on the host.
  assert.match(found['cgroup']!, /^0::\/init\.scope$/m);
  assert.equal(cgroups(), before);
});

const INQUIRY = `
systemctl --failed --plain --no-legend >failed
journalctl -b -p warning -o cat --no-pager >errors
sed -n 's/.* \\(\\/sys[^ ]*\\) \\([^ ]*\\) .*- \\([^ ]*\\) [^ ]* \\(.*\\)/\\1 \\2 \\3 \\4/p' /proc/self/mountinfo | sort >mounts
find /sys/fs/cgroup -maxdepth 1 -printf '%p %y %l\\n' | sort >hierarchies
systemctl poweroff`;

needs([root, debian, tool('systemd-nspawn')])('units, errors and cgroups are as with systemd-nspawn', async () => {
  const before = cgroups();
  const ours = await boot(INQUIRY);
  const theirs = await boot(INQUIRY, { command: SYSTEMD_NSPAWN, options: ['--console=pipe'] });
  removeCgroupsOfOthers(before);
  assert.equal([ours.status, theirs.status], [0, 0]);
  assert.is(ours.found['failed'], theirs.found['failed']);
  const errors = (booted: Booted) => new Set(booted.found['errors']!.replaceAll(/\d+/g, 'N').split('\n'));
  assert.equal([...errors(ours).difference(errors(theirs))], []);
  for (const file of ['mounts', 'hierarchies']) assert.is(ours.found[file], theirs.found[file], file);
});

check('with users of its own all units come up, in cgroups that belong to them', async () => {
  const before = cgroups();
  const script = `${INQUIRY.replace('systemctl poweroff', '')}
    systemctl is-active multi-user.target >target
    stat -c %u /proc/1 /sys/fs/cgroup/systemd/init.scope /sys/fs/cgroup/unified/init.scope 2>/dev/null | sort -u >owners
    cat /proc/1/uid_map >map; touch up`;
  const { status, printed, found } = await boot(script, {
    options: ['-U', '-n'],
    during: async ({ has, shows, kill }) => {
      await has('up');
      await shows(/ login: /);
      const { stdout } = await exec('booted', {
        command: ['/bin/sh', '-c', 'id -u; systemctl is-active multi-user.target'],
      });
      assert.is(await textOf(stdout!), '0\nactive\n');
      kill('SIGTERM');
    },
  });
  assert.equal([status, found['failed'], found['target'], found['owners']], [0, '', 'active\n', '0\n'], printed);
  assert.not.match(found['map']!, /^ *0 +0 /);
  assert.equal(cgroups(), before);
});

needs([root, debian13])('Debian 13 boots as well', async () => {
  const { status, printed, found } = await boot('systemctl --failed --plain --no-legend >failed; touch up', {
    tree: debianTree('trixie'),
    during: async ({ has, shows, kill }) => {
      await has('up');
      await shows(/ login: /);
      kill('SIGTERM');
    },
  });
  assert.equal([status, found['failed']], [0, ''], printed);
});

check('reboot starts it again, halt ends it', async () => {
  const script = 'if [ -e first ]; then touch second; systemctl halt; else touch first; systemctl reboot; fi';
  const { status, printed, found } = await boot(script);
  assert.equal([status, Object.keys(found)], [0, ['first', 'second']]);
  assert.is(printed.match(/Reached target.*multi-user\.target/g)!.length, 2);
});

check('with --keep-unit, whoever started nspawn is asked to start it again: status 133', async () => {
  const { status } = await boot('systemctl reboot', { options: ['--register=no', '--keep-unit'] });
  assert.is(status, 133);
});

check('SIGTERM shuts it down in order, a second one ends it', async () => {
  const orderly = await boot('touch up', {
    during: async ({ kill, has }) => {
      await has('up');
      kill('SIGTERM');
    },
  });
  assert.is(orderly.status, 0);
  assert.match(orderly.printed, /Reached target.*shutdown\.target/);

  const stubborn = await boot('trap "" TERM; touch up; sleep 1000', {
    during: async ({ kill, has }) => {
      await has('up');
      kill('SIGTERM');
      await setTimeout(500);
      kill('SIGTERM');
    },
  });
  assert.is(stubborn.status, 1);
  assert.match(stubborn.printed, /terminated by signal KILL\.\n$/);
});

check('what an init made below the cgroup of a killed nspawn goes with the next boot', async () => {
  const before = cgroups();
  const killed = await boot('touch up', {
    during: async ({ kill, has }) => {
      await has('up');
      kill('SIGKILL');
    },
  });
  assert.is(killed.status, 'SIGKILL');
  await boot('systemctl poweroff');
  assert.equal(cgroups(), before);
});

check('fifty ephemeral ones of one tree, started at once, all come up', async () => {
  const limit = '/proc/sys/fs/inotify/max_user_instances';
  const before = readFileSync(limit);
  using tree = copyTree(debianTree());
  const all = await Promise.all(
    Array.from({ length: 50 }, () =>
      boot('systemctl --failed --plain --no-legend >failed; systemctl is-active multi-user.target >target; touch up', {
        tree: tree.path,
        root: ['--ephemeral'],
        during: async ({ has, kill }) => {
          await has('up');
          kill('SIGTERM');
        },
      }),
    ),
  );
  writeFileSync(limit, before);
  for (const { status, found, printed } of all) {
    assert.equal([status, found['failed'], found['target']], [0, '', 'active\n'], printed);
  }
});

test.run();
