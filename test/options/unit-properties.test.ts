/** Properties of units, from what systemctl takes to what the bus wants. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseUnitProperty } from '../../src/options/unit-properties.ts';
import { ValueError } from '../../src/options/usage-error.ts';

const INFINITY = 2n ** 64n - 1n;

const CASES: readonly [assignment: string, name: string, signature: string, value: unknown][] = [
  ['MemoryMax=512M', 'MemoryMax', 't', 536870912n],
  ['MemoryMax=1.5G', 'MemoryMax', 't', 1610612736n],
  ['MemoryMax=infinity', 'MemoryMax', 't', INFINITY],
  ['MemoryMax=', 'MemoryMax', 't', INFINITY],
  ['MemoryMin=', 'MemoryMin', 't', 0n],
  ['MemoryHigh=50%', 'MemoryHighScale', 'u', 2147483648],
  ['MemoryHigh=12.25%', 'MemoryHighScale', 'u', 526133494],
  ['MemoryMax=100%', 'MemoryMaxScale', 'u', 4294967295],
  ['TasksMax=100', 'TasksMax', 't', 100n],
  ['TasksMax=10%', 'TasksMaxScale', 'u', 429496730],
  ['CPUWeight=200', 'CPUWeight', 't', 200n],
  ['CPUWeight=idle', 'CPUWeight', 't', 0n],
  ['IOWeight=', 'IOWeight', 't', INFINITY],
  ['CPUQuota=20%', 'CPUQuotaPerSecUSec', 't', 200000n],
  ['CPUQuota=150.5%', 'CPUQuotaPerSecUSec', 't', 1505000n],
  ['CPUQuota=', 'CPUQuotaPerSecUSec', 't', INFINITY],
  ['CPUQuotaPeriodSec=10ms', 'CPUQuotaPeriodUSec', 't', 10000n],
  ['AllowedCPUs=0,2-4 9', 'AllowedCPUs', 'ay', Uint8Array.of(0b11101, 0b10)],
  ['DeviceAllow=/dev/sda r', 'DeviceAllow', 'a(ss)', [['/dev/sda', 'r']]],
  ['DeviceAllow=char-pts', 'DeviceAllow', 'a(ss)', [['char-pts', '']]],
  ['DeviceAllow=', 'DeviceAllow', 'a(ss)', []],
  ['DevicePolicy=closed', 'DevicePolicy', 's', 'closed'],
  ['IOReadBandwidthMax=/dev/sda 5M', 'IOReadBandwidthMax', 'a(st)', [['/dev/sda', 5000000n]]],
  ['IODeviceLatencyTargetSec=/ 25ms', 'IODeviceLatencyTargetUSec', 'a(st)', [['/', 25000n]]],
  ['IPAddressAllow=10.0.0.0/8', 'IPAddressAllow', 'a(iayu)', [[2, Uint8Array.of(10, 0, 0, 0), 8]]],
  [
    'IPAddressDeny=any',
    'IPAddressDeny',
    'a(iayu)',
    [
      [2, new Uint8Array(4), 0],
      [10, new Uint8Array(16), 0],
    ],
  ],
  ['Delegate=yes', 'Delegate', 'b', true],
  ['Delegate=cpu memory', 'DelegateControllers', 'as', ['cpu', 'memory']],
  ['KillSignal=SIGRTMIN+3', 'KillSignal', 'i', 37],
  ['TimeoutStopSec=1min 30s', 'TimeoutStopUSec', 't', 90000000n],
  ['RuntimeMaxSec=infinity', 'RuntimeMaxUSec', 't', INFINITY],
  ['SendSIGHUP=on', 'SendSIGHUP', 'b', true],
  ['Description=My own = container', 'Description', 's', 'My own = container'],
  ['After=a.service  b.mount', 'After', 'as', ['a.service', 'b.mount']],
];

for (const [assignment, name, signature, value] of CASES) {
  test(assignment, () => assert.equal(parseUnitProperty(assignment), { name, signature, value }));
}

const REFUSED: readonly [assignment: string, says: string][] = [
  ['MemoryMax=lots', 'takes for MemoryMax bytes such as 512M, a percentage, or infinity, not "lots"'],
  ['MemoryMax=101%', 'takes for MemoryMax bytes such as 512M, a percentage, or infinity, not "101%"'],
  ['MemoryMax=-1', 'takes for MemoryMax bytes such as 512M, a percentage, or infinity, not "-1"'],
  ['TasksMax=1.5', 'takes for TasksMax a number of tasks, a percentage, or infinity, not "1.5"'],
  ['CPUWeight=0', 'takes for CPUWeight a number from 1 to 10000, or idle, not "0"'],
  ['IOWeight=idle', 'takes for IOWeight a number from 1 to 10000, not "idle"'],
  ['CPUQuota=0%', 'takes for CPUQuota a percentage such as 20% or 150%, not "0%"'],
  ['CPUQuota=2', 'takes for CPUQuota a percentage such as 20% or 150%, not "2"'],
  ['AllowedCPUs=3-1', 'takes for AllowedCPUs numbers and ranges such as 0,2-4, not "3-1"'],
  [
    'DeviceAllow=/dev/sda x',
    "takes for DeviceAllow a device node or group, and some of r, w, m, such as '/dev/sda r' or 'char-pts rw', not \"/dev/sda x\"",
  ],
  ['DevicePolicy=', 'takes for DevicePolicy auto, closed or strict, not ""'],
  ['SendSIGHUP=maybe', 'takes for SendSIGHUP yes or no, not "maybe"'],
  [
    'IPAddressAllow=10.0.0.0/33',
    'takes for IPAddressAllow addresses with or without a prefix length, any, localhost, link-local or multicast, not "10.0.0.0/33"',
  ],
  ['NoSuchThing=1', 'takes a property that a scope unit has, not "NoSuchThing=1"'],
  ['constructor=1', 'takes a property that a scope unit has, not "constructor=1"'],
  ['MemoryMax', 'takes a property that a scope unit has, not "MemoryMax"'],
];

for (const [assignment, says] of REFUSED) {
  test(`${assignment} is refused`, () => {
    assert.throws(
      () => parseUnitProperty(assignment),
      (error: Error) => error instanceof ValueError && error.message === says,
    );
  });
}

test.run();
