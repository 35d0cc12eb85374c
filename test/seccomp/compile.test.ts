import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type Action,
  type Architecture,
  AUDIT_ARCH,
  type Condition,
  compile,
  decode,
  evaluate,
  type Filter,
  FilterError,
  instructionCount,
  loadArchitecture,
  loadProgram,
  MAX_INSTRUCTIONS,
  type Rule,
} from '../../syscalls/seccomp/index.ts';

const X86_64: Architecture = { name: 'x86_64', syscalls: { read: 0, socket: 41, swapon: 167, swapoff: 168 } };
const X32: Architecture = { name: 'x32', syscalls: { read: 0x40000000, swapon: 0x400000a7 } };
const I386: Architecture = { name: 'i386', syscalls: { read: 3, swapon: 87 } };

function outcome(filter: Filter, nr: number, arch: number, ...args: bigint[]): Action {
  return evaluate(compile(filter), { nr, arch, args }).action;
}

test('a rule decides on its call, the default action on all others', () => {
  const rules: Rule[] = [{ syscall: 'swapon', action: { errno: 1 } }];
  const filter: Filter = { architectures: [X86_64], defaultAction: 'allow', rules };
  assert.equal(outcome(filter, 167, AUDIT_ARCH.x86_64), { errno: 1 });
  for (const nr of [0, 166, 168, 0x3fff_ffff, 0x8000_0000 + 167]) {
    assert.equal(outcome(filter, nr, AUDIT_ARCH.x86_64), 'allow', `nr ${nr}`);
  }
});

test('every action comes back as it went in', () => {
  const actions: Action[] = ['allow', 'log', 'notify', 'trap', 'kill-thread', 'kill-process'];
  actions.push({ errno: 0 }, { errno: 4095 }, { trace: 0 }, { trace: 65535 });
  for (const action of actions) {
    const filter: Filter = { architectures: [X86_64], defaultAction: 'trap', rules: [{ syscall: 'read', action }] };
    assert.equal(outcome(filter, 0, AUDIT_ARCH.x86_64), action);
  }
});

test('of several rules for a call the first that holds decides', () => {
  const filter: Filter = {
    architectures: [X86_64],
    defaultAction: 'allow',
    rules: [
      { syscall: 'read', args: [{ index: 0, op: '<', value: 10n }], action: { errno: 1 } },
      { syscall: 'read', args: [{ index: 0, op: '<', value: 20n }], action: { errno: 2 } },
      { syscall: 'socket', action: { errno: 3 } },
      { syscall: 'socket', args: [{ index: 0, op: '==', value: 0n }], action: 'trap' },
    ],
  };
  assert.equal(outcome(filter, 0, AUDIT_ARCH.x86_64, 9n), { errno: 1 });
  assert.equal(outcome(filter, 0, AUDIT_ARCH.x86_64, 10n), { errno: 2 });
  assert.equal(outcome(filter, 0, AUDIT_ARCH.x86_64, 20n), 'allow');
  assert.equal(outcome(filter, 41, AUDIT_ARCH.x86_64, 0n), { errno: 3 });
});

test('a rule needs all its conditions', () => {
  const args: Condition[] = [
    { index: 0, op: '==', value: 16n },
    { index: 2, op: '==', value: 9n },
  ];
  const rules: Rule[] = [{ syscall: 'socket', args, action: 'trap' }];
  const filter: Filter = { architectures: [X86_64], defaultAction: 'allow', rules };
  assert.equal(outcome(filter, 41, AUDIT_ARCH.x86_64, 16n, 3n, 9n), 'trap');
  assert.equal(outcome(filter, 41, AUDIT_ARCH.x86_64, 16n, 9n, 3n), 'allow');
  assert.equal(outcome(filter, 41, AUDIT_ARCH.x86_64, 17n, 3n, 9n), 'allow');
});

test('arguments compare as unsigned 64-bit numbers', () => {
  const big = 0x1_0000_0002n;
  const cases: [Condition['op'], holding: bigint[], failing: bigint[]][] = [
    ['==', [big], [2n, 0x1_0000_0000n, 0x2_0000_0002n, big - 1n]],
    ['!=', [2n, 0x2_0000_0002n], [big]],
    ['<', [0n, 3n, big - 1n, 0xffff_ffffn], [big, big + 1n, 0x2_0000_0000n, 0xffff_ffff_ffff_ffffn]],
    ['<=', [big, 0xffff_ffffn], [big + 1n, 0x2_0000_0000n]],
    ['>', [big + 1n, 0x2_0000_0000n, 0xffff_ffff_ffff_ffffn], [big, 0xffff_ffffn]],
    ['>=', [big, 0x2_0000_0000n], [big - 1n, 0xffff_ffffn]],
  ];
  for (const [op, holding, failing] of cases) {
    const condition = { index: 3, op, value: big } as Condition;
    const rules: Rule[] = [{ syscall: 'read', args: [condition], action: 'trap' }];
    const run = loadProgram(compile({ architectures: [X86_64], defaultAction: 'allow', rules }));
    const action = (value: bigint) => run({ nr: 0, arch: AUDIT_ARCH.x86_64, args: [0n, 0n, 0n, value] }).action;
    for (const value of holding) assert.equal(action(value), 'trap', `${value} ${op} ${big}`);
    for (const value of failing) assert.equal(action(value), 'allow', `not ${value} ${op} ${big}`);
  }
});

test('a mask hides the bits that it lacks', () => {
  const args: Condition[] = [{ index: 0, op: 'masked ==', mask: 0xf0_0000_00f0n, value: 0x10_0000_0020n }];
  const rules: Rule[] = [{ syscall: 'read', args, action: 'trap' }];
  const filter: Filter = { architectures: [X86_64], defaultAction: 'allow', rules };
  assert.equal(outcome(filter, 0, AUDIT_ARCH.x86_64, 0xffff_ff1f_ffff_ff2fn), 'trap');
  assert.equal(outcome(filter, 0, AUDIT_ARCH.x86_64, 0x20_0000_0020n), 'allow');
  assert.equal(outcome(filter, 0, AUDIT_ARCH.x86_64, 0x10_0000_0030n), 'allow');
});

test('a mask hides them from a comparison that is to fail, too', () => {
  const args: Condition[] = [1n, 2n].map(value => ({ index: 0, op: 'masked !=', mask: 0xffff_ffffn, value }));
  const rules: Rule[] = [{ syscall: 'read', args, action: 'trap' }];
  const filter: Filter = { architectures: [X86_64], defaultAction: 'allow', rules };
  for (const value of [0n, 3n, 0x1_0000_0000n]) assert.equal(outcome(filter, 0, AUDIT_ARCH.x86_64, value), 'trap');
  for (const value of [1n, 2n, 0x1_0000_0001n]) assert.equal(outcome(filter, 0, AUDIT_ARCH.x86_64, value), 'allow');
});

test('a rule goes by name on every architecture that has the call', () => {
  const rules: Rule[] = [
    { syscall: 'swapon', action: 'trap' },
    { syscall: 'socket', action: 'log' },
    { syscall: 'toString', action: 'kill-thread' },
  ];
  const filter: Filter = { architectures: [X86_64, X32, I386], defaultAction: 'allow', rules };
  assert.equal(outcome(filter, 167, AUDIT_ARCH.x86_64), 'trap');
  assert.equal(outcome(filter, 0x400000a7, AUDIT_ARCH.x32), 'trap');
  assert.equal(outcome(filter, 87, AUDIT_ARCH.i386), 'trap');
  assert.equal(outcome(filter, 167, AUDIT_ARCH.i386), 'allow');
  assert.equal(outcome(filter, 41, AUDIT_ARCH.x86_64), 'log');
});

test('two names of one number are one call', () => {
  const arm: Architecture = { name: 'arm', syscalls: { sync_file_range2: 341, arm_sync_file_range: 341 } };
  const rules: Rule[] = [
    { syscall: 'arm_sync_file_range', action: { errno: 1 } },
    { syscall: 'sync_file_range2', action: { errno: 2 } },
  ];
  assert.equal(outcome({ architectures: [arm], defaultAction: 'allow', rules }, 341, AUDIT_ARCH.arm), { errno: 1 });
});

test('calls of architectures that the filter is not for have their own action', () => {
  const rules: Rule[] = [{ syscall: 'read', action: 'trap' }];
  const killing: Filter = { architectures: [X86_64], defaultAction: 'allow', rules };
  const failing: Filter = { ...killing, unknownArchitecture: { errno: 38 } };
  for (const arch of [AUDIT_ARCH.i386, AUDIT_ARCH.arm64, 0, 0xffff_ffff]) {
    assert.equal(outcome(killing, 0, arch), 'kill-process');
    assert.equal(outcome(failing, 0, arch), { errno: 38 });
  }
});

test('x32 is an architecture apart from x86_64', () => {
  const rules: Rule[] = [{ syscall: 'read', action: 'trap' }];
  const without: Filter = { architectures: [X86_64], defaultAction: 'allow', rules };
  for (const nr of [0x4000_0000, 0x4000_0001, 0x7fff_ffff, 0xc000_0000, 0xffff_fffe]) {
    assert.equal(outcome(without, nr, AUDIT_ARCH.x86_64), 'kill-process', `nr ${nr}`);
  }
  const alone: Filter = { ...without, architectures: [X32] };
  assert.equal(outcome(alone, 0x4000_0000, AUDIT_ARCH.x86_64), 'trap');
  assert.equal(outcome(alone, 0x4000_0001, AUDIT_ARCH.x86_64), 'allow');
  assert.equal(outcome(alone, 0, AUDIT_ARCH.x86_64), 'kill-process');
});

test('a tracer may skip calls, with the number -1', () => {
  assert.equal(outcome({ architectures: [X86_64], defaultAction: 'allow', rules: [] }, -1, AUDIT_ARCH.x86_64), 'allow');
});

test('filters that make no sense are refused', () => {
  const filter: Filter = { architectures: [X86_64], defaultAction: 'allow', rules: [] };
  const withArgs = (...args: unknown[]): Filter => ({
    ...filter,
    rules: [{ syscall: 'read', args: args as Condition[], action: 'trap' }],
  });
  const cases: [Filter, RegExp][] = [
    [{ ...filter, architectures: [] }, /no architectures/],
    [{ ...filter, architectures: [X86_64, X86_64] }, /architecture x86_64 is there twice/],
    [{ ...filter, architectures: [{ name: 'vax' as 'arm', syscalls: {} }] }, /unknown architecture vax/],
    [{ ...filter, defaultAction: { errno: 4096 } }, /errno 4096/],
    [{ ...filter, defaultAction: { errno: -1 } }, /errno -1/],
    [{ ...filter, defaultAction: { trace: 65536 } }, /trace 65536/],
    [{ ...filter, rules: [{ syscall: 'no such call', action: { errno: 5000 } }] }, /errno 5000/],
    [{ ...filter, defaultAction: 'deny' as 'allow' }, /unknown action deny/],
    [withArgs({ index: 6, op: '==', value: 0n }), /rule 0 \(read\): no argument 6/],
    [withArgs({ index: 0, op: '==', value: -1n }), /rule 0 \(read\): argument 0: the value -1/],
    [withArgs({ index: 0, op: '==', value: 1n << 64n }), /argument 0: the value 18446744073709551616/],
    [withArgs({ index: 5, op: 'masked ==', value: 0n, mask: -1n }), /argument 5: the mask -1/],
    [withArgs({ index: 5, op: 'masked ==', value: 0x1fn, mask: 0xfn }), /value 0x1f has bits outside the mask 0xf/],
    [withArgs({ index: 0, op: '==', value: 5 }), /argument 0: the value 5 is no unsigned 64-bit bigint/],
    [withArgs({ index: 0, op: 'masked ==', value: 0n }), /argument 0: the mask undefined is no/],
    [withArgs({ index: 0, op: '==', value: 1n, mask: 1n }), /argument 0: == takes no mask/],
    [{ ...filter, defaultAction: undefined as unknown as 'allow' }, /unknown action undefined/],
    [withArgs({ index: 0, op: '=', value: 1n }), /unknown comparison =/],
  ];
  for (const [faulty, message] of cases) {
    assert.throws(
      () => compile(faulty),
      (error: Error) => error instanceof FilterError && message.test(error.message),
    );
  }
});

test('so is an architecture that there is not', async () => {
  const error = await loadArchitecture('vax' as 'arm').catch((refused: Error) => refused);
  assert.instance(error, FilterError);
  assert.match((error as Error).message, /unknown architecture vax: there are x86_64, i386, x32, arm64, arm$/);
});

test('a program longer than the kernel takes is refused', () => {
  const withRules = (count: number): Filter => ({
    architectures: [X86_64],
    defaultAction: 'allow',
    rules: Array.from({ length: count }, (_, value) => ({
      syscall: 'read',
      args: [{ index: 0, op: '==', value: BigInt(value) }],
      action: 'trap',
    })),
  });
  let rules = 1000;
  while (instructionCount(compile(withRules(rules))) + 4 <= MAX_INSTRUCTIONS) rules++;
  assert.throws(() => compile(withRules(rules + 1)), /longer than the 4096 instructions/);
  assert.throws(() => compile(withRules(20_000)), /longer than the 4096 instructions/);
  assert.equal(outcome(withRules(rules), 0, AUDIT_ARCH.x86_64, BigInt(rules - 1)), 'trap');
  assert.equal(outcome(withRules(rules), 0, AUDIT_ARCH.x86_64, BigInt(rules)), 'allow');

  const scattered = Object.fromEntries(Array.from({ length: 5000 }, (_, call) => [`call${call}`, 2 * call]));
  const architectures: Architecture[] = [{ name: 'arm64', syscalls: scattered }];
  const everyCall = Object.keys(scattered).map((syscall): Rule => ({ syscall, action: 'trap' }));
  const large: Filter = { architectures, defaultAction: 'allow', rules: everyCall };
  assert.throws(() => compile(large), /longer than the 4096 instructions/);
});

test('calls with the same outcome that follow one another cost as one', () => {
  const table = Object.fromEntries(Array.from({ length: 400 }, (_, call) => [`call${call}`, call]));
  const rules = Object.keys(table).map((syscall): Rule => ({ syscall, action: 'allow' }));
  const architectures: Architecture[] = [{ name: 'arm64', syscalls: table }];
  const program = compile({ architectures, defaultAction: { errno: 1 }, rules });
  assert.equal(instructionCount(program), 7);
});

test('the cost of a call grows with the logarithm of the number of rules', () => {
  for (const count of [1, 4, 16, 64, 256, 1024, 1700]) {
    const calls = Object.fromEntries(Array.from({ length: count }, (_, call) => [`call${call}`, 3 * call]));
    const rules = Object.keys(calls).map((syscall, index): Rule => ({ syscall, action: { errno: index % 7 } }));
    const program = compile({ architectures: [{ name: 'arm64', syscalls: calls }], defaultAction: 'allow', rules });
    const run = loadProgram(program);
    let most = 0;
    for (let nr = 0; nr <= 3 * count; nr++) most = Math.max(most, run({ nr, arch: AUDIT_ARCH.arm64 }).executed);
    // Each rule makes two ranges. Besides the tree: two loads, the architecture and the return; and a jump for each
    // level of the tree with a half that is more than 255 instructions long.
    const levels = Math.ceil(Math.log2(2 * count + 1));
    const longJumps = Math.max(0, levels - 7);
    assert.ok(most <= 4 + levels + longJumps, `${count} rules: ${most} instructions`);
    assert.ok(most >= 4 + Math.floor(Math.log2(2 * count)), `${count} rules: ${most} instructions`);
  }
});

test('conditions that change nothing cost nothing', () => {
  const args: Condition[] = [{ index: 0, op: '<', value: 1n << 40n }];
  const without: Filter = { architectures: [X86_64, I386], defaultAction: 'allow', rules: [] };
  const idle: Filter = { ...without, rules: [{ syscall: 'read', args, action: 'allow' }] };
  assert.equal(compile(idle), compile(without));
  const masked: Condition = { index: 1, op: 'masked ==', mask: 0xff_0000_00ffn, value: 0x11_0000_0011n };
  assert.equal(
    compile({ ...without, rules: [{ syscall: 'read', args: [masked], action: 'allow' }] }),
    compile(without),
  );
  const all: Filter = { ...without, rules: [{ syscall: 'read', action: 'trap' }] };
  const twice: Filter = { ...without, rules: [{ syscall: 'read', args, action: 'trap' }, ...all.rules] };
  assert.equal(compile(twice), compile(all));
});

test('equal decisions are in the program once', () => {
  const args: Condition[] = [{ index: 0, op: '>', value: 5n }];
  const rules = (...calls: string[]) => calls.map((syscall): Rule => ({ syscall, args, action: 'trap' }));
  const architectures = [X86_64];
  const one = compile({ architectures, defaultAction: 'allow', rules: rules('read') });
  const two = compile({ architectures, defaultAction: 'allow', rules: rules('read', 'socket') });
  const loads = (program: Uint8Array) => decode(program).filter(({ code, k }) => code === 0x20 && k >= 16).length;
  assert.equal(loads(one), 2);
  assert.equal(loads(two), 2);
});

test.run();
