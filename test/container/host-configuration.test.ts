/** --timezone= and --resolv-conf=, on hosts of different kinds. */
import { mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox, busyboxTree, copyTree } from '../support/tree.ts';
import { commandLine } from './support.ts';

const check = needs([root, busybox, tool('unshare'), tool('mount')]);

/** A file's text, or where a symlink points to (`-> TARGET`); undefined for what is missing. */
type Content = string | undefined;

function put(directory: string, files: Record<string, Content>): void {
  for (const [name, content] of Object.entries(files)) {
    const path = join(directory, name);
    rmSync(path, { recursive: true, force: true });
    if (content === undefined) continue;
    mkdirSync(join(path, '..'), { recursive: true });
    if (content.startsWith('-> ')) symlinkSync(content.slice(3), path);
    else writeFileSync(path, content);
  }
}

interface Case {
  /** What the host has in /etc, and the files of systemd-resolved in /run/systemd/resolve. */
  host?: Record<string, Content>;
  resolved?: Record<string, string>;
  /** What the tree has. */
  tree?: Record<string, Content>;
  options?: string[];
}

/** Shows a file of the container: its type and text or target, whether it is a mount, and what nspawn warned of. */
function show(
  file: string,
  { host = {}, resolved, tree = {}, options = [] }: Case,
): { shown: string; warnings: string } {
  using etc = temporaryDirectory();
  put(etc.path, { localtime: '-> /usr/share/zoneinfo/Europe/Berlin', 'resolv.conf': 'of the host', ...host });
  using run = temporaryDirectory();
  put(run.path, resolved ?? {});
  using copy = copyTree(busyboxTree());
  put(copy.path, {
    'usr/share/zoneinfo/Europe/Berlin': 'Berlin',
    'usr/share/zoneinfo/UTC': 'UTC',
    'etc/localtime': 'old',
    'etc/resolv.conf': 'old',
    ...tree,
  });
  const script = `
    if [ -h ${file} ]; then echo "-> $(readlink ${file})"; elif [ -f ${file} ]; then cat ${file}; echo; else echo missing; fi
    cut -d ' ' -f 5,6 /proc/self/mountinfo | grep -e ' *${file} ' -e /resolve/ | sed 's/,.*//'`;
  const before = `mount -t tmpfs run /run; mkdir -p /run/systemd/resolve; cp ${run.path}/* /run/systemd/resolve 2>/dev/null; mount --bind ${etc.path} /etc`;
  const { stdout, stderr, status } = commandLine(before, '-D', copy.path, ...options, '/bin/sh', '-c', script);
  assert.is(status, 0, stderr);
  return { shown: stdout, warnings: stderr };
}

const timezones: Record<string, Case & { expect: string; warns?: RegExp }> = {
  'auto links as the host does': { expect: '-> ../usr/share/zoneinfo/Europe/Berlin' },
  'auto takes relative links': {
    host: { localtime: '-> ../usr/share/zoneinfo/UTC' },
    expect: '-> ../usr/share/zoneinfo/UTC',
  },
  'auto leaves what is right': {
    tree: { 'etc/localtime': '-> /usr/share/zoneinfo/Europe/Berlin' },
    expect: '-> /usr/share/zoneinfo/Europe/Berlin',
  },
  'auto makes /etc where it is missing': { tree: { etc: undefined }, expect: '-> ../usr/share/zoneinfo/Europe/Berlin' },
  'auto without a time zone in the container': {
    tree: { 'usr/share/zoneinfo/Europe/Berlin': undefined },
    expect: 'old',
    warns: /^setting the time zone to Europe\/Berlin: the container does not know the time zone Europe\/Berlin$/,
  },
  'auto copies a file': { host: { localtime: 'of the host' }, expect: 'of the host' },
  'auto removes it where the host has none': { host: { localtime: undefined }, expect: 'missing' },
  'auto removes it where the host has a dangling link': {
    host: { localtime: '-> /somewhere/else' },
    expect: 'missing',
  },
  'auto with a link to somewhere else': {
    host: { localtime: '-> /usr/bin/env' },
    expect: 'old',
    warns: /^setting the time zone to the host's: the host's \/etc\/localtime is no symlink to a time zone$/,
  },
  'auto binds to a read-only tree': {
    host: { localtime: 'of the host' },
    options: ['--read-only'],
    expect: 'of the host\n/etc/localtime ro',
  },
  'auto leaves a read-only tree where the host has none': {
    host: { localtime: undefined },
    options: ['--read-only'],
    expect: 'old',
  },
  off: { options: ['--timezone=off'], expect: 'old' },
  delete: { options: ['--timezone=delete'], expect: 'missing' },
  'delete what is not there': {
    tree: { 'etc/localtime': undefined },
    options: ['--timezone=delete'],
    expect: 'missing',
  },
  copy: { host: { localtime: 'of the host' }, options: ['--timezone=copy'], expect: 'of the host' },
  'copy in place of a link': {
    host: { localtime: 'of the host' },
    tree: { 'etc/localtime': '-> ../usr/share/zoneinfo/UTC' },
    options: ['--timezone=copy'],
    expect: 'of the host',
  },
  'copy what the host lacks': {
    host: { localtime: undefined },
    options: ['--timezone=copy'],
    expect: 'old',
    warns: /^copying the host's \/etc\/localtime to \/etc\/localtime: [^\n]*\(ENOENT\)$/,
  },
  'copy to a read-only tree': {
    host: { localtime: 'of the host' },
    options: ['--timezone=copy', '--read-only'],
    expect: 'old',
    warns: /^copying the host's \/etc\/localtime to \/etc\/localtime: [^\n]*\(EROFS\)$/,
  },
  bind: { host: { localtime: 'of the host' }, options: ['--timezone=bind'], expect: 'of the host\n/etc/localtime ro' },
  'bind what the host lacks': {
    host: { localtime: undefined },
    options: ['--timezone=bind'],
    expect: 'old',
    warns: /^binding the host's \/etc\/localtime to \/etc\/localtime: the host has no such file or directory$/,
  },
  'bind over a directory': {
    host: { localtime: 'of the host' },
    tree: { 'etc/localtime': undefined, 'etc/localtime/x': '' },
    options: ['--timezone=bind'],
    expect: 'missing',
    warns:
      /^binding \/etc\/localtime, read-only to \/etc\/localtime: it is a regular file, but \/etc\/localtime is a directory$/,
  },
  symlink: { options: ['--timezone=symlink'], expect: '-> ../usr/share/zoneinfo/Europe/Berlin' },
  'symlink where the host has a file': {
    host: { localtime: 'of the host' },
    options: ['--timezone=symlink'],
    expect: 'old',
    warns: /^setting the time zone to the host's: the host's \/etc\/localtime is no symlink to a time zone$/,
  },
};
for (const [name, { expect, warns, ...test }] of Object.entries(timezones)) {
  check(`time zone: ${name}`, () => {
    const { shown, warnings } = show('/etc/localtime', {
      ...test,
      options: ['--resolv-conf=off', ...(test.options ?? [])],
    });
    assert.is(shown, expect);
    assert.match(warnings, warns ?? /^$/);
  });
}

const stub = { 'stub-resolv.conf': 'of the stub', 'resolv.conf': 'uplink' };
const resolvers: Record<string, Case & { expect: string; warns?: RegExp }> = {
  "auto copies the host's": { expect: 'of the host' },
  "auto copies the stub's where systemd-resolved runs": { resolved: stub, expect: 'of the stub' },
  'auto copies also over one of the same size': { tree: { 'etc/resolv.conf': 'of the h0st' }, expect: 'of the host' },
  'auto binds to a read-only tree': { options: ['--read-only'], expect: 'of the host\n/etc/resolv.conf ro' },
  'auto leaves a symlink': { tree: { 'etc/resolv.conf': '-> elsewhere' }, expect: '-> elsewhere' },
  'auto binds where a dangling symlink of a read-only tree points to': {
    tree: { 'etc/resolv.conf': '-> ../run/systemd/resolve/stub-resolv.conf' },
    options: ['--read-only'],
    expect: '-> ../run/systemd/resolve/stub-resolv.conf\n/run/systemd/resolve/stub-resolv.conf ro',
  },
  'auto leaves a read-only tree that has none': {
    tree: { 'etc/resolv.conf': undefined },
    options: ['--read-only'],
    expect: 'missing',
  },
  'auto removes it where the host has none': { host: { 'resolv.conf': undefined }, expect: 'missing' },
  'auto with a private network': { options: ['--private-network'], expect: 'old' },
  off: { options: ['--resolv-conf=off'], expect: 'old' },
  delete: { options: ['--resolv-conf=delete'], expect: 'missing' },
  'copy-host': { resolved: stub, options: ['--resolv-conf=copy-host'], expect: 'of the host' },
  'copy-uplink': { resolved: stub, options: ['--resolv-conf=copy-uplink'], expect: 'uplink' },
  'copy-stub, with a private network too': {
    resolved: stub,
    options: ['--resolv-conf=copy-stub', '--private-network'],
    expect: 'of the stub',
  },
  'copy-host leaves a symlink': {
    tree: { 'etc/resolv.conf': '-> elsewhere' },
    options: ['--resolv-conf=copy-host'],
    expect: '-> elsewhere',
  },
  'replace-host replaces it': {
    tree: { 'etc/resolv.conf': '-> elsewhere' },
    options: ['--resolv-conf=replace-host'],
    expect: 'of the host',
  },
  'bind-uplink': { resolved: stub, options: ['--resolv-conf=bind-uplink'], expect: 'uplink\n/etc/resolv.conf ro' },
  'bind-host makes the file': {
    tree: { 'etc/resolv.conf': undefined },
    options: ['--resolv-conf=bind-host'],
    expect: 'of the host\n/etc/resolv.conf ro',
  },
  'bind-stub without one': {
    options: ['--resolv-conf=bind-stub'],
    expect: 'old',
    warns:
      /^binding the host's \/run\/systemd\/resolve\/stub-resolv.conf to \/etc\/resolv.conf: the host has no such file/,
  },
  'copy-uplink without one': {
    options: ['--resolv-conf=copy-uplink'],
    expect: 'old',
    warns: /^copying the host's \/run\/systemd\/resolve\/resolv.conf to \/etc\/resolv.conf: [^\n]*\(ENOENT\)$/,
  },
};
for (const [name, { expect, warns, ...test }] of Object.entries(resolvers)) {
  check(`resolv.conf: ${name}`, () => {
    const { shown, warnings } = show('/etc/resolv.conf', {
      ...test,
      options: ['--timezone=off', ...(test.options ?? [])],
    });
    assert.is(shown, expect);
    assert.match(warnings, warns ?? /^$/);
  });
}

check("what a container does to its copy, it does not do to the host's", () => {
  const before = readFileSync('/etc/resolv.conf', 'utf8');
  using copy = copyTree(busyboxTree());
  commandLine(':', '-D', copy.path, '--timezone=off', '/bin/sh', '-c', 'echo changed >/etc/resolv.conf');
  assert.is(readFileSync('/etc/resolv.conf', 'utf8'), before);
});

check('a resolv.conf that is right already is not written', () => {
  using etc = temporaryDirectory();
  using copy = copyTree(busyboxTree());
  const same = { 'resolv.conf': 'nameserver 192.0.2.1\n' };
  put(etc.path, same);
  put(join(copy.path, 'etc'), same);
  const file = join(copy.path, 'etc/resolv.conf');
  const before = statSync(file, { bigint: true });
  const { status } = commandLine(`mount --bind ${etc.path} /etc`, '-D', copy.path, '--timezone=off', '/bin/true');
  const after = statSync(file, { bigint: true });
  assert.equal([status, after.ino, after.ctimeNs], [0, before.ino, before.ctimeNs]);
});

test.run();
