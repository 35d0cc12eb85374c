/** Virtual machines: hosts with systemd as PID 1, udev, D-Bus and Debian's kernel, whatever this host is. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { killTree } from '../processes.ts';
import { temporaryDirectory } from '../temporary.ts';
import { vmImage } from './image.ts';

const CHECKOUT = resolve(import.meta.dirname, '../../..');

/** What the kernel and systemd are told, by the name of a machine: kernel-command-line(7), systemd(1). */
export const MACHINES: Record<string, readonly string[]> = {
  cgroup2: [],
  hybrid: ['systemd.unified_cgroup_hierarchy=0'],
  cgroup1: ['systemd.unified_cgroup_hierarchy=0', 'systemd.legacy_systemd_cgroup_controller=1'],
  selinux: ['security=selinux', 'selinux=1', 'enforcing=0'],
};

/** No protection from guests is needed in one that is emulated; it would take half of the time. */
const FAST = ['mitigations=off', 'no5lvl', 'nokaslr', 'tsc=reliable', 'edd=off'];

export interface Vm extends Disposable {
  /** The command's standard streams: what it gets, and what it prints. */
  stdin: NodeJS.WritableStream;
  stdout: NodeJS.ReadableStream;
  /** Resolves to the command's exit status. Rejects when the machine ends without it, with the last of its console. */
  ended: Promise<number>;
}

const LINES_OF_CONSOLE = 40;

/**
 * Starts a machine and in it a shell command, in /checkout, which is this checkout, read-only. What `make install`
 * installs is installed; /vm is a directory of the host. The machine ends with the command, with this process, when it
 * is disposed of, and after so many seconds. Throws when there can't be one.
 */
export function startVm(command: string, machine = 'cgroup2', seconds = 900): Vm {
  const parameters = MACHINES[machine];
  if (!parameters) throw new Error(`There is no machine ${machine}: choose one of ${Object.keys(MACHINES).join(', ')}`);
  const image = vmImage();
  using undo = new DisposableStack();
  const { path: directory } = undo.use(temporaryDirectory());
  const shared = join(directory, 'shared');
  const console = join(directory, 'console');
  mkdirSync(join(shared, 'install'), { recursive: true });
  writeFileSync(join(shared, 'command'), command);
  // One at a time: what is built is put into the checkout first.
  const install = ['Makefile', 'make', '--silent', 'install', `DESTDIR=${shared}/install`, 'PREFIX=/usr/local'];
  execFileSync('flock', install, { cwd: CHECKOUT, stdio: ['ignore', 'ignore', 'inherit'] });

  // svm: without it no modules for machines within this one are loaded at each boot.
  const words = [
    '--nodefaults --no-user-config --display none --no-reboot --accel tcg,thread=multi --cpu max,svm=off --smp 2 -m 2048',
    '--device virtio-rng-pci --device virtio-serial-pci --device virtserialport,chardev=terminal,name=terminal',
    '--chardev stdio,id=terminal,signal=off',
  ].flatMap(line => line.split(' '));
  const share = (id: string, path: string, options = '') => [
    ...['--fsdev', `local,id=${id},path=${path},security_model=none,multidevs=remap${options}`],
    ...['--device', `virtio-9p-pci,fsdev=${id},mount_tag=${id}`],
  ];
  words.push(
    ...['--kernel', join(image, 'kernel'), '--initrd', join(image, 'initramfs')],
    ...['--append', ['console=ttyS0', 'panic=-1', ...FAST, ...parameters].join(' ')],
    ...['--drive', `file=${image}/disk,if=virtio,format=raw,snapshot=on`],
    ...['--serial', `file:${console}`],
    ...share('checkout', CHECKOUT, ',readonly=on'),
    ...share('run', shared),
  );
  // It ends with this process, however that ends.
  const qemu = ['--pdeathsig', 'KILL', 'qemu-system-x86_64', ...words];
  const child = spawn('setpriv', qemu, { detached: true, stdio: ['pipe', 'pipe', 'inherit'] });
  undo.defer(() => killTree(child.pid!));
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    killTree(child.pid!);
  }, seconds * 1000);
  undo.defer(() => clearTimeout(timer));

  const ended = once(child, 'close').then(() => {
    const status = join(shared, 'status');
    if (existsSync(status)) return Number(readFileSync(status, 'utf8'));
    const lines = existsSync(console) ? stripVTControlCharacters(readFileSync(console, 'utf8')).split('\n') : [];
    const why = isLate ? `took longer than ${seconds} s` : 'ended before its command did';
    throw new Error(`the virtual machine ${why}; its console:\n${lines.slice(-LINES_OF_CONSOLE).join('\n')}`);
  });
  const held = undo.move();
  return { stdin: child.stdin, stdout: child.stdout, ended, [Symbol.dispose]: () => held.dispose() };
}
