/** Mount option strings as in mount(8): words for the mount itself apart from those for the file system. */
import { MOUNT_ATTR } from '../../syscalls/constants.ts';
import type { MountOption } from '../../syscalls/mount.ts';

/** What a word sets and clears; 'dev' and its like clear what is set by default. */
const ATTRIBUTE_WORDS: Readonly<Record<string, { set?: number; clear?: number }>> = {
  ro: { set: MOUNT_ATTR.RDONLY },
  rw: { clear: MOUNT_ATTR.RDONLY },
  nosuid: { set: MOUNT_ATTR.NOSUID },
  suid: { clear: MOUNT_ATTR.NOSUID },
  nodev: { set: MOUNT_ATTR.NODEV },
  dev: { clear: MOUNT_ATTR.NODEV },
  noexec: { set: MOUNT_ATTR.NOEXEC },
  exec: { clear: MOUNT_ATTR.NOEXEC },
  noatime: { set: MOUNT_ATTR.NOATIME, clear: MOUNT_ATTR.STRICTATIME },
  relatime: { clear: MOUNT_ATTR._ATIME },
  strictatime: { set: MOUNT_ATTR.STRICTATIME },
  nosymfollow: { set: MOUNT_ATTR.NOSYMFOLLOW },
};

export interface ParsedMountOptions {
  /** MOUNT_ATTR bits to set and to clear. */
  set: number;
  clear: number;
  /** What the file system itself is told. */
  options: MountOption[];
}

/** Parses `word,key=value,…`; a comma inside double quotes belongs to the value. Later words win. */
export function parseMountOptions(text: string): ParsedMountOptions {
  const parsed: ParsedMountOptions = { set: 0, clear: 0, options: [] };
  for (const [word] of text.matchAll(/(?:[^,"]|"[^"]*")+/g)) {
    const attribute = ATTRIBUTE_WORDS[word];
    if (attribute) {
      const { set = 0, clear = 0 } = attribute;
      parsed.set = (parsed.set & ~clear) | set;
      parsed.clear = (parsed.clear & ~set) | clear;
      continue;
    }
    const equals = word.indexOf('=');
    parsed.options.push(
      equals < 0 ? { key: word } : { key: word.slice(0, equals), value: word.slice(equals + 1).replaceAll('"', '') },
    );
  }
  return parsed;
}
