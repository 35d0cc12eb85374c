import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type Action,
  type ArgumentIndex,
  AUDIT_ARCH,
  CODE,
  compile,
  encode,
  evaluate,
  type Filter,
  instructionCount,
  loadArchitecture,
  loadProgram,
  nspawnFilter,
  ProgramError,
  type Rule,
} from '../../syscalls/seccomp/index.ts';
import { type Need, needs } from '../support/needs.ts';
import { createRandom } from '../support/random.ts';
import { randomCondition, randomValue } from './generate.ts';
import { randomProgram } from './generate-program.ts';
import { type Call, openKernel, type Trial } from './kernel.ts';

const kernel = openKernel();
test.after(() => kernel.close());

const X86_64 = AUDIT_ARCH.x86_64;
const I386 = AUDIT_ARCH.i386;
const SIGSYS = 31;
const ENOSYS = 38;

const asked: Need = () => kernel.missing;
const asked32: Need = () => kernel.missing32;
const it = needs([asked]);
const it32 = needs([asked32]);

/** Whether what became of a call agrees with the action that the interpreter says. */
function agrees(action: Action, line: string): boolean {
  if (action === 'allow' || action === 'log') return line.startsWith('returned');
  // Nobody traces or listens in these tests.
  if (action === 'notify') return line === `returned -${ENOSYS}`;
  if (typeof action === 'string') return line === `signal ${SIGSYS}`;
  if ('trace' in action) return line === `returned -${ENOSYS}`;
  return line === `returned ${action.errno === 0 ? 0 : -action.errno}`;
}

/** Makes the calls in the kernel and in the interpreter and compares. */
function compare(trials: readonly Trial[]): void {
  const lines = kernel.run(trials);
  for (const { program, calls } of trials) {
    for (const call of calls) {
      const line = lines.shift()!;
      const { action } = evaluate(program, call);
      const { nr, arch, args = [] } = call;
      const text = `nr ${nr} arch ${arch.toString(16)} args ${args}: ${JSON.stringify(action)}, in the kernel: ${line}`;
      assert.ok(agrees(action, line), text);
    }
  }
}

it('every action does what it says', async () => {
  const architectures = [await loadArchitecture('x86_64')];
  const actions: Action[] = ['allow', 'log', 'notify', 'trap', 'kill-thread', 'kill-process', { trace: 7 }];
  actions.push({ errno: 0 }, { errno: 1 }, { errno: 4095 });
  const calls = [{ nr: 110, arch: X86_64 }];
  const trials = actions.map((action): Trial => {
    const rules: Rule[] = [{ syscall: 'getppid', action }];
    return { program: compile({ architectures, defaultAction: { errno: 99 }, rules }), calls };
  });
  compare(trials);
});

/** nspawn's filter with an error of its own for what it denies, so that nothing else can be the cause. */
function markedFilter(): Filter {
  const filter = nspawnFilter('x86_64');
  return { ...filter, rules: filter.rules.map(rule => ({ ...rule, action: { errno: 1234 } })) };
}

/** Calls that the filter denies, with arguments that would do no harm if it did not; and some that it allows. */
function nspawnCalls(arch: number, denied: number[], socket: number, getppid: number): Call[] {
  const bad = [-1n, -1n, -1n, -1n, -1n, 0n].map(value => BigInt.asUintN(64, value));
  return [
    ...denied.map(nr => ({ nr, arch, args: bad })),
    { nr: socket, arch, args: [16n, 3n, 9n] },
    { nr: socket, arch, args: [16n, 3n, 0n] },
    { nr: socket, arch, args: [16n | (7n << 32n), 3n, 9n | (1n << 63n)] },
    { nr: getppid, arch },
  ];
}

const DENIED_64 = [246, 304, 175, 313, 176, 172, 173, 167, 168];
const DENIED_32 = [283, 342, 128, 350, 129, 110, 101, 87, 115];

it("nspawn's filter denies and allows in the kernel what it does in the interpreter", () => {
  const calls = nspawnCalls(X86_64, DENIED_64, 41, 110);
  const program = compile(markedFilter());
  const denied = kernel.run([{ program, calls }]).filter(line => line === 'returned -1234');
  assert.is(denied.length, DENIED_64.length + 2);
  compare([
    { program, calls },
    { program: compile(nspawnFilter('x86_64')), calls },
  ]);
});

it32("nspawn's filter holds for i386 calls of a 64-bit process", () => {
  const calls = nspawnCalls(I386, DENIED_32, 359, 64).slice(0, -2);
  calls.push({ nr: 64, arch: I386 }, { nr: 246, arch: I386 });
  const program = compile(markedFilter());
  const denied = kernel.run([{ program, calls }]).filter(line => line === 'returned -1234');
  assert.is(denied.length, DENIED_32.length + 1);
  compare([{ program, calls }]);
});

it('x32 calls are told from x86_64 calls', async () => {
  const architectures = [await loadArchitecture('x86_64')];
  const calls: Call[] = [0x4000_0000 + 110, 0x4000_0000 + 1023, -1, 110].map(nr => ({ nr, arch: X86_64 }));
  const without = compile({ architectures, defaultAction: 'allow', rules: [] });
  assert.equal(kernel.run([{ program: without, calls: calls.slice(0, 3) }]), [
    `signal ${SIGSYS}`,
    `signal ${SIGSYS}`,
    `returned -${ENOSYS}`,
  ]);
  const denied = nspawnCalls(X86_64, [528, 304, 175, 313, 176, 172, 173, 167, 168], 41, 110);
  const x32Calls = denied.map(call => ({ ...call, nr: 0x4000_0000 + call.nr }));
  compare([
    { program: without, calls },
    { program: compile(markedFilter()), calls: x32Calls },
  ]);
});

it32('calls of an architecture that the filter is not for have its action', async () => {
  const architectures = [await loadArchitecture('x86_64')];
  const calls: Call[] = [{ nr: 64, arch: I386 }];
  const killing = compile({ architectures, defaultAction: 'allow', rules: [] });
  const failing = compile({ architectures, defaultAction: 'allow', unknownArchitecture: { errno: 77 }, rules: [] });
  const trials = [
    { program: killing, calls },
    { program: failing, calls },
  ];
  assert.equal(kernel.run(trials), [`signal ${SIGSYS}`, 'returned -77']);
});

it('conditions on arguments hold in the kernel as in the interpreter', async () => {
  const random = createRandom(11);
  const architectures = [await loadArchitecture('x86_64')];
  const trials = Array.from({ length: 60 }, (): Trial => {
    const rules = Array.from({ length: 1 + random.below(5) }, (_, index): Rule => {
      const args = Array.from({ length: 1 + random.below(2) }, () => randomCondition(random, [0, 1]));
      return { syscall: 'getppid', args, action: { errno: 100 + index } };
    });
    const program = compile({ architectures, defaultAction: { errno: 99 }, rules });
    const values = rules.flatMap(({ args = [] }) => args.flatMap(({ value }) => [value, value - 1n, value + 1n]));
    const calls = Array.from({ length: 8 }, (): Call => {
      const args = [0, 1].map(() => BigInt.asUintN(64, random.oneIn(3) ? randomValue(random) : random.pick(values)));
      return { nr: 110, arch: X86_64, args };
    });
    return { program, calls };
  });
  compare(trials);
});

it('the kernel takes the longest programs, with long jumps', () => {
  const syscalls = Object.fromEntries(Array.from({ length: 1900 }, (_, call) => [`call${call}`, 600 + 2 * call]));
  const rules = Object.keys(syscalls).map(
    (syscall, index): Rule => ({ syscall, action: { errno: 100 + (index % 3) } }),
  );
  const program = compile({ architectures: [{ name: 'x86_64', syscalls }], defaultAction: { errno: 99 }, rules });
  assert.ok(instructionCount(program) > 3800);
  const calls = Array.from({ length: 40 }, (_, index): Call => ({ nr: 590 + 97 * index, arch: X86_64 }));
  compare([{ program, calls }]);
});

function isAccepted(program: Uint8Array): boolean {
  try {
    loadProgram(program);
    return true;
  } catch (error) {
    if (error instanceof ProgramError) return false;
    throw error;
  }
}

it('programs are refused here if the kernel refuses them', () => {
  const random = createRandom(3);
  const programs = Array.from({ length: 900 }, () => randomProgram(random, 1 + random.below(16)));
  // Every operation by itself, also those that exist for sockets only and those that do not exist.
  for (let code = 0; code < 0x200; code++) {
    programs.push([
      { code, jt: 0, jf: 0, k: 0 },
      { code: CODE.ret, jt: 0, jf: 0, k: 0x0005_0001 },
    ]);
  }
  const encoded = programs.map(encode);
  const lines = kernel.run(encoded.map(program => ({ program, calls: [] })));
  for (const [index, program] of encoded.entries()) {
    const wanted = isAccepted(program) ? 'loaded' : 'refused 22';
    assert.is(lines[index], wanted, JSON.stringify(programs[index]));
  }
  const accepted = lines.filter(line => line === 'loaded').length;
  assert.ok(accepted > 300 && accepted < 1100, `${accepted} programs are valid`);
});

it('programs of all operations run in the kernel as in the interpreter', () => {
  const random = createRandom(5);
  const programs = Array.from({ length: 900 }, () => encode(randomProgram(random, 1 + random.below(24))));
  const trials = programs.filter(isAccepted).map((program): Trial => {
    const indexes: ArgumentIndex[] = [0, 1, 2, 3, 4, 5];
    const calls = [0, 1].map((): Call => ({ nr: 110, arch: X86_64, args: indexes.map(() => randomValue(random)) }));
    return { program, calls };
  });
  assert.ok(trials.length > 200, `${trials.length} programs are valid`);
  compare(trials);
});

test.run();
