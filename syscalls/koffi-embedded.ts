/**
 * Koffi in the one-file executable: its native library is embedded as a file, and the dynamic linker wants a real one.
 * So the library is kept in a cache where only root or this user can write, and loaded from there. Left to itself Bun
 * would write it to a predictable name in /tmp, where everybody can.
 */
import type { Stats } from 'node:fs';
import process from 'node:process';
import embedded from 'koffi.node' with { type: 'file' };
import type { Koffi } from './koffi.ts';

/** Set by scripts/build.ts: the library's size in bytes, and its name with version, platform and size in it. */
declare const KOFFI_SIZE: number;
declare const KOFFI_NAME: string;

const SYSTEM_CACHE = '/var/cache/nspawn';

/** Where a library without a name can live if no cache can be written; one of them may be mounted noexec. */
const MEMORY = ['/dev/shm', '/tmp'];

let koffi: Koffi | undefined;

/** Koffi, loaded at the first call. Throws when no place can be found to load its native library from. */
export function loadKoffi(): Koffi {
  koffi ??= fromSystemCache() ?? fromOwnCache() ?? fromMemory();
  return koffi;
}

/**
 * Only the size is checked: like /usr/lib this directory is root's alone, whoever runs. It spares the start what
 * node:fs takes to load, 2 ms; Bun.file() is there anyway, and its size is 0 when there is no such file.
 */
function fromSystemCache(): Koffi | undefined {
  const path = `${SYSTEM_CACHE}/${KOFFI_NAME}`;
  if (Bun.file(path).size !== KOFFI_SIZE) return undefined;
  try {
    return open(path);
  } catch {
    return undefined; // Mounted noexec: memory remains.
  }
}

/** Puts the library in this user's cache (for root, the system's) unless a good one is there, and loads it. */
function fromOwnCache(): Koffi | undefined {
  const { lstatSync, mkdirSync } = process.getBuiltinModule('node:fs');
  const directory = cacheDirectory();
  if (!directory) return undefined;
  const path = `${directory}/${KOFFI_NAME}`;
  try {
    mkdirSync(directory, { recursive: true, mode: 0o755 });
    if (!isOurs(lstatSync(directory))) return undefined;
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (!found?.isFile() || !isOurs(found) || found.size !== KOFFI_SIZE) install(path);
    return open(path);
  } catch {
    return undefined; // A cache that can't be written, or is mounted noexec; memory remains.
  }
}

/** $XDG_CACHE_HOME counts only as an absolute path: XDG Base Directory Specification, "Environment variables". */
function cacheDirectory(): string | undefined {
  if (process.geteuid?.() === 0) return SYSTEM_CACHE;
  const { HOME, XDG_CACHE_HOME } = process.env;
  if (XDG_CACHE_HOME?.startsWith('/')) return `${XDG_CACHE_HOME}/nspawn`;
  return HOME?.startsWith('/') ? `${HOME}/.cache/nspawn` : undefined;
}

/** True if nobody else can change it: a link's target, others' files and what others may write are not to be loaded. */
const isOurs = (entry: Stats): boolean =>
  !entry.isSymbolicLink() && entry.uid === process.geteuid?.() && (entry.mode & 0o022) === 0;

/** Writes the library under a name of its own, then renames it: at no time is there half a library at `path`. */
function install(path: string): void {
  const fs = process.getBuiltinModule('node:fs');
  const temporary = `${path}.${process.pid}`;
  try {
    fs.writeFileSync(temporary, fs.readFileSync(embedded), { flag: 'wx', mode: 0o644, flush: true });
    fs.renameSync(temporary, path);
  } catch (error) {
    fs.rmSync(temporary, { force: true });
    throw error;
  }
}

/** Loads the library from a file that has no name and goes when it is closed and unmapped: O_TMPFILE of open(2). */
function fromMemory(): Koffi {
  const fs = process.getBuiltinModule('node:fs');
  // include/uapi/asm-generic/fcntl.h: O_TMPFILE is __O_TMPFILE | O_DIRECTORY; the latter differs between architectures.
  const flags = 0o20000000 | fs.constants.O_DIRECTORY | fs.constants.O_RDWR;
  const failures: string[] = [];
  for (const directory of MEMORY) {
    let file: number | undefined;
    try {
      file = fs.openSync(directory, flags, 0o600);
      fs.writeFileSync(file, fs.readFileSync(embedded));
      return open(`/proc/self/fd/${file}`);
    } catch (error) {
      failures.push(`${directory}: ${(error as Error).message}`);
    } finally {
      if (file !== undefined) fs.closeSync(file);
    }
  }
  throw new Error(
    `Loading the native part of koffi: no cache can be written, and no memory used: ${failures.join('; ')}`,
  );
}

function open(path: string): Koffi {
  const module = { exports: {} };
  process.dlopen(module, path);
  return module.exports as Koffi;
}
