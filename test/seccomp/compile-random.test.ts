import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type ArchitectureName,
  AUDIT_ARCH,
  CODE,
  compile,
  decode,
  encodeAction,
  type Filter,
  instructionCount,
  loadArchitecture,
  loadProgram,
  type SeccompData,
} from '../../syscalls/seccomp/index.ts';
import { type Random, withSeed } from '../support/random.ts';
import { randomAction, randomArchitectures, randomCall, randomRules } from './generate.ts';
import { decide } from './reference.ts';

/** Runs the program of a filter over random calls and holds each decision against the rules. */
function hold(random: Random, filter: Filter, calls: number): Uint8Array {
  const program = compile(filter);
  const run = loadProgram(program);
  for (let call = 0; call < calls; call++) {
    const data = randomCall(random, filter);
    const wanted = decide(filter, data);
    if (run(data).word !== encodeAction(wanted)) assert.equal(run(data).action, wanted, describe(data));
  }
  return program;
}

function describe({ nr, arch, args = [] }: SeccompData): string {
  return `nr 0x${(nr >>> 0).toString(16)} arch 0x${arch.toString(16)} args ${args.map(arg => `0x${arg.toString(16)}`)}`;
}

function randomFilter(random: Random, calls: number, rules: number, spread: number): Filter {
  const names = Array.from({ length: calls }, (_, call) => `call${call}`);
  return {
    architectures: randomArchitectures(random, calls, spread),
    defaultAction: randomAction(random),
    ...(random.oneIn(2) ? { unknownArchitecture: randomAction(random) } : {}),
    rules: randomRules(random, names, rules),
  };
}

test('small filters decide as their rules say', () => {
  for (let seed = 1; seed <= 400; seed++) {
    withSeed(seed, random => hold(random, randomFilter(random, 1 + random.below(12), random.below(25), 3), 300));
  }
});

test('filters over the real tables decide as their rules say', async () => {
  const names = Object.keys(AUDIT_ARCH) as ArchitectureName[];
  const architectures = await Promise.all(names.map(loadArchitecture));
  const calls = [...new Set(architectures.flatMap(({ syscalls }) => Object.keys(syscalls)))];
  for (let seed = 1; seed <= 10; seed++) {
    withSeed(seed, random => {
      const rules = randomRules(random, calls, 10 * (1 + random.below(10)));
      hold(random, { architectures, defaultAction: 'allow', rules }, 2000);
    });
  }
});

test('filters whose programs need long jumps decide as their rules say', () => {
  let longJumps = 0;
  let longest = 0;
  for (let seed = 1; seed <= 12; seed++) {
    withSeed(seed, random => {
      const filter = randomFilter(random, 250, 100 + random.below(80), 2);
      const program = hold(random, filter, 4000);
      longJumps += decode(program).filter(({ code }) => code === CODE.ja).length;
      longest = Math.max(longest, instructionCount(program));
    });
  }
  assert.ok(longJumps > 50, `${longJumps} long jumps`);
  assert.ok(longest > 2000, `${longest} instructions`);
});

test('thousands of rules decide as they say', () => {
  withSeed(7, random => {
    const names = Array.from({ length: 1500 }, (_, call) => `call${call}`);
    const rules = Array.from({ length: 5000 }, () => ({
      syscall: random.pick(names),
      action: { errno: random.below(40) },
    }));
    const syscalls = Object.fromEntries(names.map((name, call) => [name, call]));
    const filter: Filter = { architectures: [{ name: 'x86_64', syscalls }], defaultAction: 'trap', rules };
    const program = hold(random, filter, 1000);
    assert.ok(
      decode(program).some(({ code }) => code === CODE.ja),
      'it has long jumps',
    );

    const run = loadProgram(program);
    for (let nr = 0; nr <= 1500; nr++) {
      const data = { nr, arch: AUDIT_ARCH.x86_64 };
      assert.equal(run(data).action, decide(filter, data), `nr ${nr}`);
    }
  });
});

test.run();
