/** The same on a Debian tree with systemd-nspawn and with us, where both show the same. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { debian, debianTree } from '../support/tree.ts';

const check = needs([root, debian, tool('systemd-nspawn')]);
const main = join(import.meta.dirname, '../../src/cli/main.ts');

interface Shown {
  stdout: string;
  status: number | null;
}

/** Runs the same words with both. */
function both(words: string[]): { ours: Shown; theirs: Shown } {
  const call = (command: string, args: string[]): Shown => {
    const { stdout, status } = spawnSync(command, [...args, ...words], {
      encoding: 'utf8',
      timeout: 60_000,
      input: '',
    });
    return { stdout, status };
  };
  return {
    ours: call(process.execPath, [main, '-q', '-P']),
    theirs: call('systemd-nspawn', ['--register=no', '--keep-unit', '-q', '--console=pipe']),
  };
}

/** Options and a script; `only` picks the lines that are compared. */
function same(options: string[], script: string, only: (line: string) => boolean = () => true): string[] {
  const { ours, theirs } = both(['-D', debianTree(), ...options, '--', '/bin/sh', '-c', script]);
  const lines = (shown: Shown) => [...shown.stdout.trimEnd().split('\n').filter(only), `status ${shown.status}`];
  assert.equal(lines(ours), lines(theirs));
  assert.is(ours.status, 0);
  return lines(ours);
}

const overlay = '--volatile=overlay';

const CAPABILITIES: string[][] = [
  [],
  ['--capability=CAP_SYS_TIME,CAP_SYS_MODULE'],
  ['--capability=all'],
  ['--drop-capability=CAP_CHOWN,CAP_MKNOD'],
  ['--drop-capability=all'],
  ['--private-network'],
  ['--private-network', '--drop-capability=CAP_NET_ADMIN'],
  ['--capability=all', '--drop-capability=CAP_SYS_ADMIN'],
  ['--user=nobody'],
  ['--no-new-privileges=yes'],
];
for (const options of CAPABILITIES) {
  check(`capability masks: ${options.join(' ') || 'none given'}`, () => {
    // They leave inheritable capabilities set, which hands them to programs with file capabilities: CVE-2022-24769.
    const masks = /^(CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):/;
    assert.is(same([overlay, ...options], 'cat /proc/self/status', line => masks.test(line)).length, 7);
  });
}

check('API file systems and their flags', () => {
  const paths = [
    '/',
    '/proc',
    '/proc/sys',
    '/sys',
    '/dev',
    '/dev/pts',
    '/dev/shm',
    '/run',
    '/proc/sys/kernel/random/boot_id',
  ];
  const isApi = (line: string) => paths.includes(line.split(' ')[0]!);
  // Sizes of memory file systems are theirs alone, and mounts are listed twice that were made read-only in two steps.
  const show = `awk '{ sub(/ shared:[0-9]+| master:[0-9]+/, ""); print $5, $6, $8 }' /proc/self/mountinfo | sort -u -k 1,1`;
  same([overlay], show, isApi);
  for (const mode of ['state', 'yes'])
    same([`--volatile=${mode}`], show, line => /^\/(usr|var|proc|sys|dev)? /.test(line));
  same(['--read-only'], show, line => /^\/ /.test(line));
});

check('/dev', () => {
  const list =
    'cd /dev; for f in * net/* pts/*; do [ -h $f ] && echo "$f $(readlink $f)" || stat -c "%n %F %a %u %g %t:%T" $f; done';
  same([overlay], list, line => !/^(char|mqueue) /.test(line));
  same([overlay], 'stat -c "%n %F %a %u:%g" /dev /dev/shm /dev/pts /run /proc /sys /proc/kmsg');
});

check('the environment', () => {
  const own = /^(PATH|container|HOME|USER|LOGNAME|TERM|A|container_uuid)=/;
  const lines = (options: string[]) => same([overlay, ...options], 'env | sort', line => own.test(line));
  lines(['--uuid=deadbeefdeadbeefdeadbeefdeadbeef', '--setenv=A=b', '--setenv=HOME=/x']);
  lines([
    '--user=nobody',
    '--setenv=A=1',
    '--setenv=A=2',
    '--uuid=deadbeef-dead-beef-dead-beefdeadbeef',
    '-E',
    'PATH=/bin',
  ]);
});

check('who and where the payload is', () => {
  // Ignored signals are left out: the C library keeps two of them to itself, and systemd-nspawn passes those on.
  const show =
    'id; pwd; umask; cut -d " " -f 1,4-7 /proc/$$/stat; grep -E "^Sig(Blk|Cgt)" /proc/self/status; cat /proc/self/loginuid; ls /proc/self/fd';
  same([overlay], show);
  same([overlay, '--user=daemon', '--chdir=/usr/share'], show);
  same([overlay, '--user=_apt'], `${show}; stat -c "%n %a %U %G" ~`);
  same([overlay, '--as-pid2'], show);
});

check('host name, machine name, personality, CPUs, OOM score, limits', () => {
  same([overlay, '--machine=one'], 'hostname');
  same([overlay, '--machine=one', '--hostname=two.three'], 'hostname');
  same([overlay], 'hostname');
  same([overlay, '--personality=x86-64'], 'uname -m');
  if (process.arch === 'x64') same([overlay, '--personality=x86'], 'uname -m');
  same([overlay, '--cpu-affinity=0'], 'grep ^Cpus_allowed_list /proc/self/status');
  same([overlay, '--oom-score-adjust=77'], 'cat /proc/self/oom_score_adj');
  same([overlay, '--rlimit=NOFILE=17:23', '--rlimit=CORE=0'], 'ulimit -Sn; ulimit -Hn; ulimit -Sc');
});

check('a private network', () => {
  same([overlay, '--private-network'], 'ip -o link; ip -o -4 addr; cat /etc/resolv.conf');
});

check('mounts that are asked for', () => {
  using host = temporaryDirectory();
  spawnSync('sh', [
    '-c',
    'cd "$1"; mkdir a b u v; echo a >a/f; echo b >b/f; mkfifo fifo; echo f >file',
    'sh',
    host.path,
  ]);
  const show = (path: string) =>
    `find ${path} | sort; cat ${path}/f; { echo x >${path}/x; rm ${path}/x; } 2>&1; grep ' ${path} ' /proc/self/mountinfo | cut -d ' ' -f 6`;
  same([overlay, `--bind=${host.path}/a:/mnt/x`], show('/mnt/x'));
  same([overlay, `--bind-ro=${host.path}/b:/mnt/x:norbind`], show('/mnt/x'));
  same(
    [overlay, `--bind=${host.path}/file:/made/file`, `--bind=${host.path}/fifo:/made/fifo`],
    'stat -c "%n %F" /made /made/*',
  );
  same(
    [overlay, '--tmpfs=/mnt:mode=700,size=1M', '--tmpfs=/new'],
    'grep -e " /mnt " -e " /new " /proc/self/mountinfo | cut -d " " -f 6; stat -c %a /mnt /new',
  );
  same([overlay, `--overlay=${host.path}/a:${host.path}/b:${host.path}/u:/mnt`], 'find /mnt | sort; cat /mnt/f');
  same([overlay, `--overlay-ro=${host.path}/a:${host.path}/b:/mnt`], show('/mnt'));
});

check('volatile trees', () => {
  const writable =
    'for d in / /usr /var /etc; do [ -d $d ] && echo x 2>/dev/null >$d/.x && echo $d; done; stat -c "%n %F %a" /usr /var /etc /tmp /root';
  for (const mode of ['yes', 'state', 'overlay']) same([`--volatile=${mode}`], writable, line => line !== '/tmp');
  same(['--volatile=yes'], 'for l in bin sbin lib lib64; do readlink /$l; done; ls /etc');
});

check('statuses', () => {
  for (const status of [0, 1, 42, 255]) {
    const { ours, theirs } = both(['-D', debianTree(), overlay, '--', '/bin/sh', '-c', `exit ${status}`]);
    assert.equal([ours.status, theirs.status], [status, status]);
  }
});

const nothing = temporaryDirectory();
test.after(() => nothing[Symbol.dispose]());
const tree = () => ['-D', debianTree(), overlay];
const REFUSALS: Record<string, () => string[]> = {
  'a directory that is not there': () => ['-D', '/nonexistent', '/bin/true'],
  'an empty directory': () => ['-D', nothing.path],
  'booting an empty directory': () => ['-D', nothing.path, '-b'],
  'the root directory': () => ['-D', '/', '/bin/true'],
  'no such program': () => [...tree(), '/bin/nonexistent'],
  'no such program in PATH': () => [...tree(), 'nonexistent'],
  'a file that is no program': () => [...tree(), '/etc/passwd'],
  'no such user': () => [...tree(), '--user=nonexistent', '/bin/true'],
  'no such working directory': () => [...tree(), '--chdir=/nonexistent', '/bin/true'],
  'a bind of what is not there': () => [...tree(), '--bind=/nonexistent', '/bin/true'],
  'a bind of a file on a directory': () => [...tree(), '--bind=/etc/passwd:/etc', '/bin/true'],
  'a bind of a directory on a file': () => [...tree(), '--bind=/etc:/etc/passwd', '/bin/true'],
  'hiding what is not there': () => [...tree(), '--inaccessible=/nonexistent', '/bin/true'],
  'a mount option that is none': () => [...tree(), '--tmpfs=/mnt:nonsense=1', '/bin/true'],
  'a missing home on a read-only tree': () => ['-D', debianTree(), '--read-only', '--user=_apt', '/bin/true'],
};
for (const [name, words] of Object.entries(REFUSALS)) {
  check(`refused: ${name}`, () => {
    const { ours, theirs } = both(words());
    assert.equal([ours.status, theirs.status], [1, 1]);
  });
}

test.run();
