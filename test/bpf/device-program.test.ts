/** The program of a device policy: what it answers, and what others read in its bytes. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ACCESS, CONTEXT, DEVICE_TYPE, type DeviceRule, deviceProgram } from '../../syscalls/bpf/device-program.ts';
import { assemble, encode, exit, set } from '../../syscalls/bpf/instructions.ts';
import { needs, tool } from '../support/needs.ts';
import { createRandom } from '../support/random.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { interpret } from './interpret.ts';

type Device = { type: 'char' | 'block'; major: number; minor: number };
const LETTERS = ['r', 'w', 'm'] as const;

/** struct bpf_cgroup_dev_ctx */
function context({ type, major, minor }: Device, access: string): Uint8Array {
  const words = new Uint32Array(3);
  const bits = LETTERS.filter(each => access.includes(each)).reduce((sum, each) => sum | ACCESS[each], 0);
  words[CONTEXT.access / 4] = (bits << 16) | DEVICE_TYPE[type];
  words[CONTEXT.major / 4] = major;
  words[CONTEXT.minor / 4] = minor;
  return new Uint8Array(words.buffer);
}

const answer = (rules: readonly DeviceRule[], device: Device, access: string): boolean =>
  interpret(deviceProgram(rules), context(device, access)) === 1n;

const NULL: Device = { type: 'char', major: 1, minor: 3 };

test('nothing is allowed without a rule', () => {
  assert.not.ok(answer([], NULL, 'r'));
});

test('a rule allows its device, for what it says', () => {
  const rules: DeviceRule[] = [{ type: 'char', major: 1, minor: 3, access: 'rw' }];
  for (const access of ['r', 'w', 'rw', '']) assert.ok(answer(rules, NULL, access), access);
  for (const access of ['m', 'rm', 'rwm']) assert.not.ok(answer(rules, NULL, access), access);
  assert.not.ok(answer(rules, { ...NULL, type: 'block' }, 'r'));
  assert.not.ok(answer(rules, { ...NULL, minor: 4 }, 'r'));
  assert.not.ok(answer(rules, { ...NULL, major: 2 }, 'r'));
});

test('without numbers it is about all of them', () => {
  const terminals: DeviceRule[] = [{ type: 'char', major: 136, access: 'rw' }];
  assert.ok(answer(terminals, { type: 'char', major: 136, minor: 0xfffff }, 'rw'));
  const blocks: DeviceRule[] = [{ type: 'block', access: 'rwm' }];
  assert.ok(answer(blocks, { type: 'block', major: 0xfff, minor: 77 }, 'rwm'));
  assert.not.ok(answer(blocks, { type: 'char', major: 0xfff, minor: 77 }, 'r'));
});

test('random policies and devices: as a table would have it', () => {
  const seed = Number(process.env['SEED'] ?? 1);
  const random = createRandom(seed);
  const { below, oneIn } = random;
  const some = () => LETTERS.filter(() => oneIn(2)).join('');
  const type = () => random.pick(['char', 'block'] as const);
  for (let i = 0; i < 3000; i++) {
    const rules = Array.from({ length: below(5) }, (): DeviceRule => {
      const major = oneIn(3) ? {} : { major: below(3) };
      return { type: type(), ...major, ...(oneIn(3) ? {} : { minor: below(3) }), access: some() };
    });
    const device: Device = { type: type(), major: below(3), minor: below(3) };
    const access = some();
    const wanted = rules.some(
      rule =>
        rule.type === device.type &&
        (rule.major ?? device.major) === device.major &&
        (rule.minor ?? device.minor) === device.minor &&
        [...access].every(letter => rule.access.includes(letter)),
    );
    assert.is(answer(rules, device, access), wanted, `seed ${seed}: ${JSON.stringify({ rules, device, access })}`);
  }
});

test('a jump to nowhere is refused', () => {
  const jump = { jumpIfNot: { register: 0, constant: 0, to: 'nowhere' } };
  assert.throws(() => assemble([set(0, 1), jump, exit]), 'there is no label nowhere');
});

needs([tool('bpf-objdump')])('objdump reads in its bytes what it is', () => {
  using directory = temporaryDirectory();
  const file = join(directory.path, 'program');
  writeFileSync(file, encode(deviceProgram([{ type: 'char', major: 1, minor: 3, access: 'rw' }])));
  const listing = execFileSync('bpf-objdump', ['-D', '-b', 'binary', '-m', 'bpf', file]).toString();
  const lines = [...listing.matchAll(/^\s*[0-9a-f]+:(?:\s[0-9a-f]{2}){8}\s+(.*)$/gm)].map(([, line]) => line!.trim());
  assert.equal(
    lines.map(line => line.replace(/\s+/g, ' ')),
    [
      'ldxw %r2,[%r1+0]',
      'mov %r3,%r2',
      'and %r2,0xffff',
      'rsh %r3,0x10',
      'ldxw %r4,[%r1+4]',
      'ldxw %r5,[%r1+8]',
      'jne %r2,2,7',
      'mov %r0,%r3',
      'and %r0,1',
      'jne %r0,0,4',
      'jne %r4,1,3',
      'jne %r5,3,2',
      'mov %r0,1',
      'exit',
      'mov %r0,0',
      'exit',
    ],
  );
});

test.run();
