import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { jumpTargets } from '../../syscalls/seccomp/bpf.ts';
import { createGraph, type Graph, type Node } from '../../syscalls/seccomp/graph.ts';
import { CODE, compile, decode, encode, type Instruction, loadProgram } from '../../syscalls/seccomp/index.ts';
import { link } from '../../syscalls/seccomp/link.ts';
import { withSeed } from '../support/random.ts';
import { randomArchitectures, randomRules } from './generate.ts';

/** A step that changes nothing: A is 0 in these tests. */
const NO_MASK = 0xffff_ffff;

function filler(graph: Graph, length: number, next: Node): Node {
  let node = next;
  for (let count = 0; count < length; count++) node = graph.and(NO_MASK, node);
  return node;
}

/** Value returned for nr. */
function returned(instructions: Instruction[], nr: number): number {
  return loadProgram(encode(instructions))({ nr, arch: 0 }).word;
}

function longJumps(instructions: Instruction[]): number {
  return instructions.filter(({ code }) => code === CODE.ja).length;
}

test('a jump gets anywhere, whatever the distance', () => {
  for (let distance = 1; distance <= 600; distance++) {
    const graph = createGraph();
    const far = filler(graph, 2, graph.returns(1));
    const near = filler(graph, distance, graph.returns(2));
    const instructions = link(graph.load(0, graph.branch('jge', 7, far, near)));
    assert.is(returned(instructions, 7), 1, `distance ${distance}`);
    assert.is(returned(instructions, 6), 2, `distance ${distance}`);
    // near's filler and its return are skipped
    assert.is(longJumps(instructions), distance + 1 <= 254 ? 0 : 1, `distance ${distance}`);
  }
});

test('a jump may have two far targets, at any distances', () => {
  for (let distance = 230; distance <= 280; distance++) {
    for (const between of [0, 1, 2, 5]) {
      for (const swapped of [false, true]) {
        const graph = createGraph();
        const first = filler(graph, 3, graph.returns(1));
        const second = filler(graph, 1 + between, graph.returns(2));
        const user = graph.branch('jeq', 100, first, second);
        const [then, otherwise] = swapped ? [second, first] : [first, second];
        const farUser = graph.branch('jeq', 5, then, otherwise);
        const entry = graph.load(0, graph.branch('jge', 50, filler(graph, distance, user), farUser));
        const instructions = link(entry);
        const text = `distance ${distance}, ${between} between, swapped ${swapped}`;
        assert.is(returned(instructions, 100), 1, text);
        assert.is(returned(instructions, 50), 2, text);
        assert.is(returned(instructions, 5), swapped ? 2 : 1, text);
        assert.is(returned(instructions, 6), swapped ? 1 : 2, text);
      }
    }
  }
});

test('a step whose next one stands elsewhere goes on there', () => {
  const graph = createGraph();
  const shared = graph.branch('jeq', 3, graph.returns(1), graph.returns(2));
  const instructions = link(graph.branch('jeq', 1, graph.load(4, shared), graph.load(0, shared)));
  assert.is(returned(instructions, 3), 1);
  assert.is(returned(instructions, 4), 2);
});

test('a long jump leads neither to another one nor to a return', () => {
  for (let seed = 1; seed <= 5; seed++) {
    withSeed(seed, random => {
      const names = Array.from({ length: 250 }, (_, call) => `call${call}`);
      const architectures = randomArchitectures(random, 250, 2);
      const rules = randomRules(random, names, 150);
      const instructions = decode(compile({ architectures, defaultAction: 'allow', rules }));
      assert.ok(longJumps(instructions) > 0);
      for (const [at, { code, k }] of instructions.entries()) {
        if (code !== CODE.ja) continue;
        const target = instructions[at + 1 + k]!.code;
        assert.ok(target !== CODE.ja && target !== CODE.ret, `instruction ${at}`);
      }
    });
  }
});

test('every instruction can be reached', () => {
  withSeed(6, random => {
    const names = Array.from({ length: 250 }, (_, call) => `call${call}`);
    const architectures = randomArchitectures(random, 250, 2);
    const instructions = decode(
      compile({ architectures, defaultAction: 'allow', rules: randomRules(random, names, 150) }),
    );
    const reached = new Set([0]);
    for (const [at, instruction] of instructions.entries()) {
      if (!reached.has(at) || instruction.code === CODE.ret) continue;
      const targets = jumpTargets(instruction, at);
      for (const target of targets.length > 0 ? targets : [at + 1]) reached.add(target);
    }
    assert.is(reached.size, instructions.length);
  });
});

test.run();
