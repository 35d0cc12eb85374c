/** Directories that tests make and that go away with `using`. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface TemporaryDirectory {
  path: string;
  [Symbol.dispose](): void;
}

/** A new empty directory: `using directory = temporaryDirectory()` removes it, with all in it, at the block's end. */
export function temporaryDirectory(): TemporaryDirectory {
  const path = mkdtempSync(join(tmpdir(), 'nspawn-test-'));
  return { path, [Symbol.dispose]: () => removeTree(path) };
}

/** Removes a directory. What is mounted in it goes first, or a bind mount would have the host's files removed. */
export function removeTree(path: string): void {
  for (const mountPoint of mountPointsBelow(path).reverse()) {
    const { status, stderr } = spawnSync('umount', ['-l', mountPoint], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`Removing ${path}: ${mountPoint} is still mounted: ${stderr.trim()}`);
  }
  rmSync(path, { recursive: true, force: true });
}

/** Mount points at or below a path, each after those it is mounted on. Format: proc_pid_mountinfo(5). */
function mountPointsBelow(path: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map(line => unescapeOctal(line.split(' ')[4] ?? ''))
    .filter(mountPoint => mountPoint === path || mountPoint.startsWith(`${path}/`));
}

/** The kernel writes white space and backslashes in mountinfo as \ooo. */
const unescapeOctal = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
