/** The rules for sockets, over both filters that containers have. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { allowFilter } from '../../syscalls/seccomp/allow-filter.ts';
import { CONFINED_SOCKETS } from '../../syscalls/seccomp/confined-sockets.ts';
import {
  type Action,
  AUDIT_ARCH,
  compile,
  type Filter,
  loadArchitecture,
  loadProgram,
  nspawnFilter,
  type SeccompData,
  syscallNumber,
} from '../../syscalls/seccomp/index.ts';
import { HOST_ARCHITECTURES } from '../../syscalls/seccomp/nspawn-filter.ts';
import { withSeed } from '../support/random.ts';
import { randomCall } from './generate.ts';
import { decide } from './reference.ts';

const REFUSED: Action = { errno: 97 };
/** AF_UNIX, AF_INET, AF_INET6, AF_NETLINK; and NETLINK_AUDIT. */
const [CONFINED, NETLINK, AUDIT] = [[1, 2, 10, 16], 16, 9];
/** What the kernel doesn't look at, as both are ints. */
const UPPER_HALVES = [0n, 1n << 32n, 0xffff_ffffn << 32n];
const FAMILIES = [...Array(64).keys(), 0xffff_ffff];

for (const [host, names] of Object.entries(HOST_ARCHITECTURES)) {
  const architectures = await Promise.all(names.map(loadArchitecture));
  const bases: Record<string, Filter> = {
    'the list of denied calls': { ...nspawnFilter(host as keyof typeof HOST_ARCHITECTURES), architectures },
    'the list of allowed calls': allowFilter(architectures, 0n, {}),
  };
  for (const [name, base] of Object.entries(bases)) {
    const filter: Filter = { ...base, rules: [...CONFINED_SOCKETS, ...base.rules] };
    const run = loadProgram(compile(filter));

    test(`on ${host}, with ${name}, sockets are only of families that are confined`, () => {
      for (const architecture of architectures) {
        const arch = AUDIT_ARCH[architecture.name];
        const of = (call: string, ...args: bigint[]) =>
          run({ nr: syscallNumber(architecture, call)!, arch, args }).action;
        for (const [family, upper] of FAMILIES.flatMap(each => UPPER_HALVES.map(half => [each, half] as const))) {
          const wanted = CONFINED.includes(family) ? 'allow' : REFUSED;
          const argument = BigInt(family) | upper;
          const told = `${architecture.name} ${argument.toString(16)}`;
          for (const call of ['socket', 'socketpair']) assert.equal(of(call, argument, 1n, 0n), wanted, told);
          const audit = of('socket', argument, 3n, BigInt(AUDIT) | upper);
          assert.equal(audit, family === NETLINK ? REFUSED : wanted, told);
        }
      }
    });

    test(`on ${host}, with ${name}, the program decides as its rules say`, () => {
      const sockets = { ...filter, rules: CONFINED_SOCKETS };
      withSeed(1, random => {
        for (let i = 0; i < 20_000; i++) {
          const data: SeccompData = randomCall(random, sockets);
          assert.equal(run(data).action, decide(filter, data), JSON.stringify({ ...data, args: `${data.args}` }));
        }
      });
    });
  }
}

test('socketcall makes no sockets, and does all else with them', async () => {
  const i386 = await loadArchitecture('i386');
  const rules = [...CONFINED_SOCKETS];
  const run = loadProgram(compile({ architectures: [i386], defaultAction: 'allow', rules }));
  for (let what = 0n; what < 24n; what++) {
    const { action } = run({ nr: 102, arch: AUDIT_ARCH.i386, args: [what, 0n] });
    assert.equal(action, what === 1n || what === 8n ? REFUSED : 'allow', `${what}`);
  }
});

test.run();
