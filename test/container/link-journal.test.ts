/** --link-journal=: what becomes of the host's and of the container's directory, beside systemd-nspawn. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { NSPAWN } from '../cli/support.ts';
import { needs, root, tool } from '../support/needs.ts';
import { busybox, busyboxTree, copyTree } from '../support/tree.ts';

const it = needs([root, busybox]);
const sideBySide = needs([root, busybox, tool('systemd-nspawn')]);

const ID = '0123456789abcdef0123456789abcdef';
const HOST_ID = 'fedcba9876543210fedcba9876543210';
const PATH = `/var/log/journal/${ID}`;

/** A tree with a machine id of its own, that has this in its journal's directory; undefined: it has none. */
function treeWith(inTree: string[] | undefined, id = ID) {
  const tree = copyTree(busyboxTree());
  writeFileSync(join(tree.path, 'etc/machine-id'), `${id}\n`);
  if (inTree) mkdirSync(join(tree.path, PATH), { recursive: true });
  for (const name of inTree ?? []) writeFileSync(join(tree.path, PATH, name), '');
  return tree;
}

/** Nothing else is to be warned of. */
const QUIET = ['--timezone=off', '--resolv-conf=off'];

/** Prints what a directory has, or what is in its place. */
const SHOW = `show() {
  if [ -L "$1" ]; then echo "a symlink to $(readlink "$1")"; elif [ -d "$1" ]; then echo $(ls "$1");
  elif [ -e "$1" ]; then echo a file; else echo nothing; fi; }`;

interface Outcome {
  status: number | null;
  /** What the payload has found and made. */
  printed: string;
  host: string;
  tree: string;
  said: string;
}

interface Run {
  /** What has been done on the host, where $PATH_ is its directory and $TREE the tree. */
  before?: string;
  command?: readonly string[];
  options?: readonly string[];
  script?: string;
}

/** Runs a container whose payload makes a file in its journal; the host has an empty directory of journals. */
function linked(
  tree: string,
  mode: string,
  { before = '', command = NSPAWN, options = [], script }: Run = {},
): Outcome {
  const payload = script ?? `cd ${PATH} 2>/dev/null || exit 1; echo had $(ls); touch made`;
  const words = [...command, '-q', '-M', 'j', `--link-journal=${mode}`, '--console=pipe', ...QUIET, ...options];
  const run = [...words, ...(options.includes('-i') ? [] : ['-D', tree]), '--', '/bin/sh', '-c', payload];
  const { status, stdout, stderr } = spawnSync(
    'unshare',
    [
      ...['--mount', 'sh', '-c'],
      `${SHOW}
       mkdir -p /var/log; mount -t tmpfs none /var/log; mkdir /var/log/journal; echo ${HOST_ID} >/var/log/id
       mount --bind /var/log/id /etc/machine-id || exit 99; P=${PATH}; TREE=${tree}; ${before}
       "$@"; echo "status $?"; show $P; umount $P 2>/dev/null; show $TREE$P`,
      ...['sh', ...run],
    ],
    { encoding: 'utf8', timeout: 60_000, env: { ...process.env, TREE: tree } },
  );
  assert.is(status, 0, stderr);
  const [, printed = '', code, host = '', inTree = ''] = /^(.*)status (\d+)\n(.*)\n(.*)\n$/s.exec(stdout) ?? [];
  return {
    status: Number(code),
    printed: printed.trim(),
    host: host.trim(),
    tree: inTree.trim(),
    // systemd-nspawn says this of its own directory on these machines.
    said: stderr.replace(/^Attempted to remove disk file system under.*\n/m, '').trim(),
  };
}

/** What the host can have before. */
const HOSTS: Record<string, string> = {
  nothing: '',
  'an empty directory': 'mkdir $P',
  'a directory': 'mkdir $P; touch $P/kept',
  'its link': 'ln -s $TREE$P $P',
  'another link': 'ln -s /nowhere $P',
  'a file': 'touch $P',
};
const LINK = `a symlink to TREE${PATH}`;

/** status, what the payload sees (undefined: no directory), then what the host and the tree have. */
type Expected = [status: number, had: string | undefined, host: string, tree: string];
const CASES: Record<string, Record<string, Expected>> = {
  auto: {
    nothing: [1, undefined, 'nothing', 'nothing'],
    'an empty directory': [0, 'had', 'made', ''],
    'a directory': [0, 'had kept', 'kept made', ''],
    'its link': [0, 'had', LINK, 'made'],
    'another link': [1, undefined, 'nothing', 'nothing'],
    'a file': [1, undefined, 'a file', 'nothing'],
  },
  guest: {
    nothing: [0, 'had', LINK, 'made'],
    'an empty directory': [0, 'had', LINK, 'made'],
    'a directory': [1, undefined, 'kept', 'nothing'],
    'its link': [0, 'had', LINK, 'made'],
    'another link': [0, 'had', LINK, 'made'],
    'a file': [1, undefined, 'a file', 'nothing'],
  },
  host: {
    nothing: [0, 'had', 'made', ''],
    'an empty directory': [0, 'had', 'made', ''],
    'a directory': [0, 'had kept', 'kept made', ''],
    'its link': [0, 'had', 'made', ''],
    'another link': [0, 'had', 'made', ''],
    'a file': [1, undefined, 'a file', 'nothing'],
  },
};

for (const [mode, cases] of Object.entries(CASES)) {
  it(`${mode}: by what the host has, and the same with try- in front`, () => {
    for (const [host, [status, had, afterwards, inTree]] of Object.entries(cases)) {
      // Try variants only differ where the host refuses: one of them is enough.
      const tried = mode !== 'auto' && host === 'an empty directory' ? [mode, `try-${mode}`] : [mode];
      for (const each of tried) {
        using tree = treeWith(undefined);
        const outcome = linked(tree.path, each, { before: HOSTS[host]! });
        const what = `${each}, the host has ${host}: ${outcome.said}`;
        assert.is(outcome.status, status, what);
        assert.is(outcome.printed, had ?? '', what);
        assert.is(outcome.host.replace(tree.path, 'TREE'), afterwards, what);
        if (host !== 'a file') assert.is(outcome.tree, inTree, what);
      }
    }
  });
}

sideBySide('as systemd-nspawn does it', () => {
  const theirs = ['systemd-nspawn', '--register=no', '--keep-unit'];
  for (const [mode, host, inTree] of [
    ['auto', 'a directory', ['own']],
    ['auto', 'another link', []],
    ['try-guest', 'a directory', undefined],
    ['guest', 'an empty directory', ['own']],
    ['guest', 'another link', undefined],
    ['host', 'its link', ['own']],
    ['try-host', 'nothing', undefined],
  ] as const) {
    const [ours, real] = [NSPAWN, theirs].map(command => {
      using tree = treeWith(inTree && [...inTree]);
      const { said, ...outcome } = linked(tree.path, mode, { before: HOSTS[host]!, command });
      return JSON.stringify({ ...outcome, isSilent: said === '' }).replaceAll(tree.path, 'TREE');
    });
    assert.is(ours, real, `${mode}, the host has ${host}`);
  }
});

/** Says nothing, and leaves all as it was. */
const isLeftAlone = ({ status, said, host }: Outcome) => {
  assert.equal([status, said, host], [0, '', 'nothing']);
};
const script = 'true';

it('where the host keeps no journals, that is an error unless it was a try', () => {
  for (const mode of ['guest', 'host']) {
    using tree = treeWith(undefined);
    const before = 'rmdir /var/log/journal';
    const { status, said } = linked(tree.path, mode, { before });
    assert.is(status, 1);
    assert.match(said, new RegExp(`^linking the journal \\(${mode}\\): .*No such file or directory`));
    isLeftAlone(linked(tree.path, `try-${mode}`, { before, script }));
    isLeftAlone(linked(tree.path, 'auto', { before, script }));
  }
});

it('a tree without a machine id has nothing to link', () => {
  for (const id of ['', 'uninitialized', 'x'.repeat(32), '../../../../tmp/0123456789abcdef0123']) {
    using tree = treeWith(undefined, id);
    assert.match(linked(tree.path, 'host').said, /the container has no machine id in \/etc\/machine-id$/);
    for (const mode of ['auto', 'try-host', 'try-guest']) isLeftAlone(linked(tree.path, mode, { script }));
  }
  using tree = treeWith(undefined);
  rmSync(join(tree.path, 'etc/machine-id'));
  // The host's own, were it followed there.
  symlinkSync('/proc/1/root/var/log/id', join(tree.path, 'etc/machine-id'));
  assert.match(linked(tree.path, 'host').said, /the container has no machine id/);
});

it('one with the id of the host is refused, or warned of', () => {
  using tree = treeWith(undefined, HOST_ID);
  const refused = linked(tree.path, 'guest');
  assert.is(refused.status, 1);
  assert.is(refused.said, `linking the journal (guest): the container has the machine id of this host, ${HOST_ID}`);
  for (const mode of ['auto', 'try-host']) {
    const { status, said } = linked(tree.path, mode, { script, before: `mkdir /var/log/journal/${HOST_ID}` });
    assert.equal(
      [status, said],
      [0, `not linking the journal: the container has the machine id of this host, ${HOST_ID}`],
    );
  }
});

it('no: nothing is looked at', () => {
  using tree = treeWith(undefined, HOST_ID);
  isLeftAlone(linked(tree.path, 'no', { script, before: `mkdir /var/log/journal/${HOST_ID}` }));
});

it('a directory that is mounted already is not used', () => {
  const mounted = 'mkdir $P; mount -t tmpfs none $P';
  const inTree = 'mkdir -p $TREE$P $P; mount -t tmpfs none $TREE$P';
  for (const [before, whose] of [
    [mounted, 'host'],
    [inTree, 'container'],
  ] as const) {
    using tree = treeWith(undefined);
    const { status, said } = linked(tree.path, 'host', { before });
    assert.is(status, 1);
    assert.is(said, `linking the journal (host): ${PATH} of the ${whose} is a mount point already`);
    const tried = linked(tree.path, 'try-host', { before, script });
    assert.equal([tried.status, tried.said], [0, '']);
  }
});

it('what the tree has below is hidden, which is told', () => {
  using tree = treeWith(['own']);
  const { status, printed, said, tree: inTree } = linked(tree.path, 'host');
  assert.equal([status, printed, inTree], [0, 'had', 'own']);
  assert.is(said, `${PATH} of the container is not empty, and hidden by that of the host`);
});

it('a volatile container has the journal on the host, but no directory for a link', () => {
  for (const options of [['--volatile=overlay'], ['--volatile=state']]) {
    using tree = treeWith(undefined);
    const onHost = linked(tree.path, 'host', { options });
    assert.equal([onHost.status, onHost.host, onHost.tree], [0, 'made', 'nothing'], onHost.said);
    assert.match(linked(tree.path, 'guest', { options }).said, /what the container writes is not in a directory/);
  }
  using tree = treeWith(undefined);
  isLeftAlone(linked(tree.path, 'try-guest', { options: ['--read-only'], script }));
});

it('symlinks of the tree lead nowhere else', () => {
  using tree = treeWith(undefined);
  using elsewhere = treeWith(undefined);
  mkdirSync(join(tree.path, 'var/log/journal'), { recursive: true });
  symlinkSync(elsewhere.path, join(tree.path, PATH));
  const { status, said } = linked(tree.path, 'host');
  assert.is(status, 1);
  assert.match(said, /^linking the journal \(host\): .*\((ENOTDIR|ELOOP)\)$/m);
  rmSync(join(tree.path, 'var/log'), { recursive: true });
  symlinkSync('/srv', join(tree.path, 'var/log'));
  mkdirSync(join(tree.path, 'srv'), { recursive: true });
  assert.is(linked(tree.path, 'host').host, 'made');
});

test.run();
