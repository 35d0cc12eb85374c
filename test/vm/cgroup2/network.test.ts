/** Network interfaces on a host where udev renames and watches them, and the kernel has all kinds of them. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { onBusybox } from '../machines.ts';
import { ends, inMachine, sh } from '../support.ts';

const it = inMachine();

/** Runs a script in a container on the busybox tree. */
const run = (options: string[], script: string) => {
  const words = [...onBusybox('net', ...options), '/bin/sh', '-c', `'${script}'`];
  return ends(`${words.join(' ')} </dev/null`);
};

/** Runs something while the host has an interface, which udev knows. */
function withInterface(name: string, kind: string, work: () => void): void {
  sh(`ip link add ${name} type ${kind} && udevadm settle`);
  try {
    work();
  } finally {
    ends(`ip link del ${name}`);
  }
}

it('an ipvlan', () => {
  withInterface('parent0', 'dummy', () => {
    const { stdout, stderr } = run(['--network-ipvlan=parent0'], 'ls /sys/class/net');
    assert.equal([stdout.split('\n').filter(Boolean).sort(), stderr], [['iv-parent0', 'lo'], '']);
    const renamed = run(['--network-ipvlan=parent0:mine'], 'ls /sys/class/net');
    assert.equal(renamed.stdout.split('\n').filter(Boolean).sort(), ['lo', 'mine']);
  });
});

it('an interface that is lent comes back under its name', () => {
  withInterface('lent0', 'dummy', () => {
    const { status, stdout } = run(['--network-interface=lent0:inside0'], 'ls /sys/class/net');
    assert.equal([status, stdout.split('\n').filter(Boolean).sort()], [0, ['inside0', 'lo']]);
    sh('ip link show lent0');
  });
});

it('a veth link that udev knows is gone afterwards', () => {
  const { status, stdout } = run(['-n'], 'ls /sys/class/net');
  assert.equal([status, stdout.split('\n').filter(Boolean).sort()], [0, ['host0', 'lo']]);
  sh('udevadm settle');
  assert.is(ends('ip link show ve-net').status, 1);
});

test.run();
