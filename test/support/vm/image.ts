/** What a virtual machine starts from. It is made once; no machine changes it. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import process from 'node:process';
import { debootstrapped, fingerprint } from '../cache.ts';
import { type Need, tool } from '../needs.ts';
import { busyboxTree, debianTree } from '../tree.ts';

const HERE = import.meta.dirname;

/**
 * Path of a directory with `kernel`, `initramfs` and `disk`: Debian 12 with systemd and Debian's kernel, and in it the
 * trees that tests spawn. Making it takes some minutes. Throws when it can't be made.
 */
export function vmImage(): string {
  const trees = [debianTree(), busyboxTree()];
  const guest = readdirSync(join(HERE, 'guest'), { recursive: true, encoding: 'utf8' }).map(name => `guest/${name}`);
  const files = ['make-image.sh', 'dpkg.cfg', ...guest.sort()].filter(file => statSync(join(HERE, file)).isFile());
  const recipe = files.map(file => [file, readFileSync(join(HERE, file), 'utf8')]);
  const name = `vm-${fingerprint([recipe, trees.map(tree => basename(tree))])}`;
  return debootstrapped('a virtual machine', name, path => [join(HERE, 'make-image.sh'), path, ...trees]);
}

/** For needs(): a virtual machine can be started here. */
export const canHaveVm: Need = () => {
  if (process.arch !== 'x64') return 'the virtual machine is one for x86-64';
  const missing = tool('qemu-system-x86_64')() ?? tool('make')();
  if (missing) return missing;
  try {
    vmImage();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
};
