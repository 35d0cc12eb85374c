import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { capabilityNames, parseCapabilities, retainedCapabilities } from '../../src/options/capabilities.ts';
import { ValueError } from '../../src/options/usage-error.ts';

/** Numbers from <linux/capability.h>. */
const numbers = { CAP_CHOWN: 0, CAP_KILL: 5, CAP_NET_ADMIN: 12, CAP_SYS_ADMIN: 21, CAP_SYS_TIME: 25, CAP_MKNOD: 27 };
const newest = { CAP_AUDIT_READ: 37, CAP_PERFMON: 38, CAP_BPF: 39, CAP_CHECKPOINT_RESTORE: 40 };
const bit = (name: string) => 1n << BigInt(capabilityNames.indexOf(name));

test('the numbers are the kernel’s', () => {
  for (const [name, number] of Object.entries({ ...numbers, ...newest })) {
    assert.is(capabilityNames.indexOf(name), number, name);
  }
  assert.is(capabilityNames.length, 41);
});

test('names come in any case, with or without CAP_, or as numbers', () => {
  assert.equal(parseCapabilities('CAP_KILL,cap_kill,Kill,5,0x5'), Array(5).fill('CAP_KILL'));
  assert.equal(parseCapabilities('all,ALL'), ['all', 'all']);
  assert.equal(parseCapabilities(',CAP_KILL,,'), ['CAP_KILL']);
  assert.equal(parseCapabilities(''), []);
});

for (const text of ['CAP_FOO', ' CAP_KILL', 'CAP_KILL CAP_CHOWN', '41', '-1', 'CAP_', 'CAP_ALL', 'help']) {
  test(`refuses ${JSON.stringify(text)}`, () => {
    assert.throws(
      () => parseCapabilities(text),
      (error: unknown) => error instanceof ValueError && error.message.endsWith(`not ${JSON.stringify(text)}`),
    );
  });
}

test('the default set is that of systemd-nspawn 252', () => {
  // Its containers show CapBnd 00000000fdecafff in /proc/self/status, where the host has all capabilities itself.
  assert.is(retainedCapabilities({}), 0xfdecafffn);
});

test('asked for, private network, and dropped', () => {
  const all = 2n ** 64n - 1n;
  const base = retainedCapabilities({});
  const ports = bit('CAP_NET_BIND_SERVICE');
  const cases: [Parameters<typeof retainedCapabilities>[0], bigint][] = [
    [{ capabilities: ['CAP_SYS_TIME'] }, base | bit('CAP_SYS_TIME')],
    [{ privateNetwork: true }, base | bit('CAP_NET_ADMIN')],
    [{ privateNetwork: true, dropCapabilities: ['CAP_NET_ADMIN'] }, base],
    [{ capabilities: ['CAP_KILL'], dropCapabilities: ['CAP_KILL'] }, base & ~bit('CAP_KILL')],
    [{ capabilities: ['all'] }, all],
    [{ capabilities: ['all'], dropCapabilities: ['CAP_SYS_ADMIN'] }, all & ~bit('CAP_SYS_ADMIN')],
    [{ capabilities: ['all'], dropCapabilities: ['all'] }, 0n],
    [{ privateUsers: 'pick' }, base & ~ports],
    [{ privateUsers: { base: 65536, count: 65536 }, capabilities: ['all'] }, all & ~ports],
    [{ privateUsers: 'yes', networkNamespacePath: '/n', privateNetwork: true }, (base & ~ports) | bit('CAP_NET_ADMIN')],
    [{ privateUsers: 'yes', privateNetwork: true }, base | bit('CAP_NET_ADMIN')],
    [{ privateUsers: 'identity' }, base],
    [{ privateUsers: { base: 0, count: 65536 } }, base],
  ];
  for (const [options, expected] of cases) assert.is(retainedCapabilities(options), expected, JSON.stringify(options));
});

test.run();
