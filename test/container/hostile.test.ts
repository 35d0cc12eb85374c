/** Trees that were made to do harm: each ends in a container or a clear error, with the host untouched. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { SpawnOptions } from '../../src/index.ts';
import { needs, root } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox, busyboxTree } from '../support/tree.ts';
import { type Outcome, run, startError } from './support.ts';

const check = needs([root, busybox]);

/** A small tree, which is made faster than a whole one is copied. */
function smallTree() {
  const directory = temporaryDirectory();
  chmodSync(directory.path, 0o755);
  const at = (name: string) => join(directory.path, name);
  for (const name of ['usr/bin', 'usr/share/zoneinfo', 'usr/lib', 'etc', 'home/guest', 'mnt', 'dev', 'run']) {
    mkdirSync(at(name), { recursive: true });
  }
  copyFileSync(join(busyboxTree(), 'usr/bin/busybox'), at('usr/bin/busybox'));
  for (const name of ['sh', 'cat', 'stat', 'ls', 'readlink', 'grep']) symlinkSync('busybox', at(`usr/bin/${name}`));
  symlinkSync('usr/bin', at('bin'));
  for (const name of ['passwd', 'group', 'os-release'])
    cpSync(join(busyboxTree(), 'etc', name), at(`etc/${name}`), { dereference: true });
  return directory;
}

/** A directory of the host that no container may read or change. */
function makeVictim() {
  const directory = temporaryDirectory();
  writeFileSync(join(directory.path, 'secret'), 'root:SECRET:0:0:SECRET:/root:/bin/sh\nguest:SECRET:0:0::/:\n');
  mkdirSync(join(directory.path, 'directory'));
  return directory;
}

/** What is in a directory: names, owners, modes, sizes and times of change. */
const look = (directory: string) =>
  ['', ...readdirSync(directory, { recursive: true })].map(name => {
    const { ino, mode, uid, gid, size, ctimeMs } = lstatSync(join(directory, String(name)));
    return [name, ino, mode, uid, gid, size, ctimeMs].join(' ');
  });

type Put = (path: string, victim: string) => void;
const link =
  (target: (victim: string) => string): Put =>
  (path, victim) =>
    symlinkSync(target(victim), path);
const up = '../'.repeat(20);

/** What stands in a special path's place. */
const REPLACEMENTS: Record<string, Put> = {
  'a symlink to a file of the host': link(victim => `${victim}/secret`),
  'a symlink to a directory of the host': link(victim => `${victim}/directory`),
  'a symlink upwards out of the tree': link(victim => `${up}${victim}/secret`),
  'a magic link to a descriptor': link(() => '/proc/self/fd/7'),
  'a magic link to a descriptor, and up from there': link(victim => `/proc/self/fd/7/${up}${victim}/secret`),
  'a magic link to a root directory': link(victim => `/proc/1/root${victim}/secret`),
  "a magic link to nspawn's root directory": link(victim => `/proc/${process.pid}/root${victim}/directory`),
  'a magic link to a working directory': link(victim => `/proc/self/cwd/${up}${victim}`),
  'a loop': (path, _) => symlinkSync(path.split('/').at(-1)!, path),
  'a dangling symlink': link(() => 'no/such/file'),
  'a fifo': path => execFileSync('mkfifo', [path]),
  'a device': path => execFileSync('mknod', [path, 'c', '1', '5']),
  'a file': path => writeFileSync(path, 'x\n'),
  'an empty directory': path => mkdirSync(path),
  nothing: () => {},
};

const PLACES = [
  ...['etc', 'proc', 'sys', 'dev', 'run', 'tmp', 'var', 'home', 'root', 'mnt', 'usr/share', 'usr/share/zoneinfo'],
  ...['etc/localtime', 'etc/resolv.conf', 'etc/passwd', 'etc/group', 'etc/os-release', 'home/guest'],
];

const guest = {
  user: 'guest',
  command: ['/bin/sh', '-c', 'for f in passwd resolv.conf localtime; do [ -f /etc/$f ] && cat /etc/$f; done; echo ran'],
};
/** Options that make nspawn look at, or write to, all of these places. */
const WAYS: SpawnOptions[] = [
  { ...guest, user: 'root', timezone: 'copy', resolvConf: 'replace-host' },
  {
    ...guest,
    timezone: 'symlink',
    resolvConf: 'copy-host',
    tmpfs: [{ path: '/mnt', options: '' }],
    inaccessible: ['/tmp'],
  },
  {
    ...guest,
    readOnly: true,
    timezone: 'bind',
    resolvConf: 'bind-host',
    binds: [{ source: '+/home', destination: '/mnt', readOnly: true, recursive: true }],
  },
  { ...guest, user: 'root', volatile: 'state', timezone: 'delete', resolvConf: 'delete' },
];

/** What came of a start: it ran, or the error that it ended with. */
async function attempt(options: SpawnOptions): Promise<Outcome | string> {
  try {
    return await run(options, { seconds: 10 });
  } catch (error) {
    return (error as Error).message;
  }
}

/** One line without control characters that says what was being done. */
const CLEAR_ERROR = /^[a-z][^\p{Cc}]{10,600}$/u;

for (const place of PLACES) {
  check(`/${place} is what it should not be`, async () => {
    using victim = makeVictim();
    const before = look(victim.path);
    const ofHost = ['/etc/localtime', '/etc/resolv.conf', '/etc/passwd'].map(path => lstatSync(path).ctimeMs);
    for (const [name, put] of Object.entries(REPLACEMENTS)) {
      for (const [i, options] of WAYS.entries()) {
        const what = `${name}, options ${i}`;
        using copy = smallTree();
        const path = join(copy.path, place);
        mkdirSync(join(path, '..'), { recursive: true });
        rmSync(path, { recursive: true, force: true });
        put(path, victim.path);
        const outcome = await attempt({ directory: copy.path, ...options });
        assert.equal(look(victim.path), before, `${what}: the host's files`);
        if (typeof outcome === 'string') {
          assert.match(outcome, CLEAR_ERROR, what);
          continue;
        }
        assert.match(outcome.stdout, /(^|\n)ran$/, `${what}: ${outcome.status}`);
        assert.not.match(outcome.stdout, 'SECRET', what);
      }
    }
    assert.equal(
      ['/etc/localtime', '/etc/resolv.conf', '/etc/passwd'].map(path => lstatSync(path).ctimeMs),
      ofHost,
    );
  });
}

/** A copy of the busybox tree with one thing changed; runs a shell in it. */
async function changed(place: string, put: Put, options: SpawnOptions, script = 'echo ran') {
  using copy = smallTree();
  const path = join(copy.path, place);
  rmSync(path, { recursive: true, force: true });
  put(path, '/tmp');
  return await attempt({ directory: copy.path, command: ['/bin/sh', '-c', script], ...options });
}

check('what stands in the place of a file is replaced, except a symlink for resolv.conf', async () => {
  const types = 'stat -c %F /etc/localtime /etc/resolv.conf';
  const options = { timezone: 'copy', resolvConf: 'copy-host' } as const;
  for (const name of ['a fifo', 'a device', 'a file', 'nothing']) {
    for (const place of ['etc/localtime', 'etc/resolv.conf']) {
      const outcome = (await changed(place, REPLACEMENTS[name]!, options, types)) as Outcome;
      assert.is(outcome.stdout, 'regular file\nregular file', `${place}: ${name}`);
    }
  }
  const linked = (await changed(
    'etc/resolv.conf',
    link(() => '/elsewhere'),
    options,
    'readlink /etc/resolv.conf',
  )) as Outcome;
  assert.is(linked.stdout, '/elsewhere');
  const replaced = (await changed(
    'etc/resolv.conf',
    link(() => '/elsewhere'),
    { resolvConf: 'replace-host' },
    types,
  )) as Outcome;
  assert.match(replaced.stdout, /regular file$/);
});

check('a user database that is no file is refused without being opened', async () => {
  for (const [name, type] of [
    ['a fifo', 'a fifo'],
    ['a device', 'a character device'],
    ['an empty directory', 'a directory'],
  ]) {
    const outcome = await changed('etc/passwd', REPLACEMENTS[name!]!, { user: 'guest' });
    assert.is(outcome, `reading /etc/passwd in the container: it is ${type}, not a regular file`);
  }
});

check('one that is too large is refused, too', async () => {
  const huge: Put = path => {
    writeFileSync(path, '');
    truncateSync(path, 2 ** 40);
  };
  assert.match(
    (await changed('etc/passwd', huge, { user: 'guest' })) as string,
    /^reading \/etc\/passwd in the container: it is too large/,
  );
});

check('API file systems are mounted inside the tree also where a symlink stands in their place', async () => {
  for (const place of ['dev', 'proc', 'sys', 'run']) {
    const outcome = (await changed(
      place,
      link(() => '/home'),
      {},
      `grep -c ' /home ' /proc/self/mountinfo; cat /proc/self/mountinfo`,
    )) as Outcome | string;
    if (typeof outcome === 'string') assert.match(outcome, CLEAR_ERROR);
    else assert.match(outcome.stdout, /^1\n/, place);
  }
  const loop = await changed('dev', REPLACEMENTS['a loop']!, {});
  assert.match(
    loop as string,
    /^mounting tmpfs on \/dev \(mode=755\): [^\n]*Too many levels of symbolic links \(ELOOP\)$/,
  );
});

check("a /usr that leads out of the tree is not the host's, with --volatile=yes", async () => {
  const outside: Record<string, Put> = {
    ...REPLACEMENTS,
    "the host's by a magic link": link(() => '/proc/self/root/usr'),
    "the host's by another": link(() => `/proc/${process.pid}/root/usr`),
    "the host's from below": link(() => `${up}/../usr`),
  };
  for (const [name, put] of Object.entries(outside)) {
    assert.match((await changed('usr', put, { volatile: 'yes' })) as string, CLEAR_ERROR, name);
  }
});

check('an os-release that leads out of the tree makes no OS tree', async () => {
  for (const [name, put] of Object.entries(REPLACEMENTS)) {
    const outcome = (await changed('etc/os-release', put, { boot: true, command: [] })) as string;
    const isThere = ['a fifo', 'a device', 'a file', 'an empty directory'].includes(name);
    assert.match(outcome, isThere ? /^running an init \(looked for / : /^booting [^\n]*: it is no OS tree/, name);
  }
});

check('an empty tree, and one without /usr/bin, are refused', async () => {
  using empty = temporaryDirectory();
  assert.is(await startError({ directory: empty.path }), `starting a container on ${empty.path}: it has no /usr/bin`);
  assert.equal(readdirSync(empty.path), []);
});

/** Programs that lead back to who starts them. Executed in the container, this is the agent without its memory. */
const PROGRAMS: Record<string, Put> = {
  '#!/proc/self/exe': path => writeFileSync(path, '#!/proc/self/exe\n', { mode: 0o755 }),
  '#!/proc/1/exe with an argument': path => writeFileSync(path, '#!/proc/1/exe -e x\n', { mode: 0o755 }),
  'a symlink to /proc/self/exe': link(() => '/proc/self/exe'),
  'a symlink to /proc/1/exe': link(() => '/proc/1/exe'),
};
for (const [name, put] of Object.entries(PROGRAMS)) {
  check(`${name} runs nothing of the host`, async () => {
    for (const options of [{}, { asPid2: true }, { user: 'guest' }, { shareSystem: true }]) {
      // With the host's processes in sight, process 1 is the host's, whose executable is not for this tree to name.
      if ('shareSystem' in options && name.includes('/proc/1/')) continue;
      const outcome = await changed('evil', put, { ...options, command: ['/evil', 'x'] });
      if (typeof outcome === 'string') assert.match(outcome, CLEAR_ERROR);
      else assert.equal([outcome.status, outcome.stdout, outcome.stderr], [1, '', ''], JSON.stringify(options));
    }
  });
}

check('a program that is a fifo, a device, a directory or a loop is a clear error', async () => {
  for (const name of ['a fifo', 'a device', 'an empty directory', 'a loop']) {
    const outcome = await changed('evil', REPLACEMENTS[name]!, { command: ['/evil'] });
    assert.match(
      outcome as string,
      /^(running \/evil in the container: [^\n]*\(EACCES\)|starting a container on [^\n]*: it has no \/evil)$/,
      name,
    );
  }
});

check('a program that is its own interpreter is a clear error', async () => {
  const put: Put = path => writeFileSync(path, '#!/evil\n', { mode: 0o755 });
  assert.is(
    await changed('evil', put, { command: ['/evil'] }),
    'running /evil in the container: Too many levels of symbolic links (ELOOP)',
  );
});

check(
  'nothing that the container has leads to the host: descriptors, root and working directories, executables',
  async () => {
    using victim = makeVictim();
    const script = `
    for f in /proc/[0-9]*/fd/* /proc/[0-9]*/root /proc/[0-9]*/cwd /proc/[0-9]*/exe /proc/self/fd/*; do
      cat "$f${victim.path}/secret" "$f/${up}${victim.path}/secret" "$f/secret"
    done 2>/dev/null
    echo looked`;
    for (const options of [{}, { asPid2: true }, { user: 'guest' }]) {
      const outcome = (await changed('x', () => {}, options, script)) as Outcome;
      assert.is(outcome.stdout, 'looked', JSON.stringify(options));
    }
  },
);

check(
  "root in the container can neither write to the agent's executable nor see the memory shared with it",
  async () => {
    const script = `
    cat /proc/1/maps | grep -c memfd
    ls -l /proc/1/fd | grep -c memfd
    echo x >/proc/1/exe && echo written`;
    const outcome = (await changed('x', () => {}, { asPid2: true }, script)) as Outcome;
    const [mapped, open, written] = outcome.stdout.split('\n');
    assert.ok(Number(mapped) <= 1, 'its text, and no arena');
    assert.equal([open, written], ['0', undefined]);
  },
);

check("the tree's own mounts and files survive: nothing is removed but what is replaced", async () => {
  using copy = smallTree();
  writeFileSync(join(copy.path, 'dev/kmsg'), 'kept');
  writeFileSync(join(copy.path, 'dev/.boot-id'), 'kept');
  mkdirSync(join(copy.path, 'run/kept'));
  assert.is(((await attempt({ directory: copy.path, command: ['/bin/sh', '-c', ':'] })) as Outcome).status, 0);
  assert.equal(
    ['dev/kmsg', 'dev/.boot-id'].map(name => readFileSync(join(copy.path, name), 'utf8')),
    ['kept', 'kept'],
  );
  assert.ok(existsSync(join(copy.path, 'run/kept')));
});

test.run();
