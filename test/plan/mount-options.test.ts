/** Mount option strings: words of the mount itself apart from those of the file system. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseMountOptions } from '../../src/plan/mount-options.ts';
import { MOUNT_ATTR } from '../../syscalls/constants.ts';

const { RDONLY, NOSUID, NODEV, NOEXEC, NOATIME, STRICTATIME, _ATIME, NOSYMFOLLOW } = MOUNT_ATTR;

const cases: Record<string, ReturnType<typeof parseMountOptions>> = {
  '': { set: 0, clear: 0, options: [] },
  ro: { set: RDONLY, clear: 0, options: [] },
  'ro,nosuid,nodev,noexec,nosymfollow': { set: RDONLY | NOSUID | NODEV | NOEXEC | NOSYMFOLLOW, clear: 0, options: [] },
  'rw,suid,dev,exec': { set: 0, clear: RDONLY | NOSUID | NODEV | NOEXEC, options: [] },
  'nodev,dev': { set: 0, clear: NODEV, options: [] },
  'dev,nodev': { set: NODEV, clear: 0, options: [] },
  noatime: { set: NOATIME, clear: STRICTATIME, options: [] },
  relatime: { set: 0, clear: _ATIME, options: [] },
  'relatime,strictatime': { set: STRICTATIME, clear: _ATIME & ~STRICTATIME, options: [] },
  'mode=0755,size=10M': {
    set: 0,
    clear: 0,
    options: [
      { key: 'mode', value: '0755' },
      { key: 'size', value: '10M' },
    ],
  },
  'ro,,huge=never,flag': { set: RDONLY, clear: 0, options: [{ key: 'huge', value: 'never' }, { key: 'flag' }] },
  'empty=,a=b=c': {
    set: 0,
    clear: 0,
    options: [
      { key: 'empty', value: '' },
      { key: 'a', value: 'b=c' },
    ],
  },
  'context="system_u:object_r:x:s0:c1,c2",ro': {
    set: RDONLY,
    clear: 0,
    options: [{ key: 'context', value: 'system_u:object_r:x:s0:c1,c2' }],
  },
};
for (const [text, expected] of Object.entries(cases)) {
  test(`options: ${text || 'none'}`, () => {
    assert.equal(parseMountOptions(text), expected);
  });
}

test.run();
