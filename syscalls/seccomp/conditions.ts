/**
 * Comparisons of 64-bit arguments, for a machine that loads and compares 32 bits at a time.
 */

import { OFFSET } from './bpf.ts';
import type { Graph, Node } from './graph.ts';
import type { Condition } from './rules.ts';

/** The node where a condition is tested: it leads to `pass` if the condition holds, else to `fail`. */
export function conditionNode(graph: Graph, condition: Condition, pass: Node, fail: Node): Node {
  const { index, value } = condition;
  switch (condition.op) {
    case '==':
      return equal(graph, index, value, ALL_BITS, pass, fail);
    case '!=':
      return equal(graph, index, value, ALL_BITS, fail, pass);
    case 'masked ==':
      return equal(graph, index, value, condition.mask, pass, fail);
    case 'masked !=':
      return equal(graph, index, value, condition.mask, fail, pass);
    case '>':
      return greater(graph, index, value, 'jgt', pass, fail);
    case '<=':
      return greater(graph, index, value, 'jgt', fail, pass);
    case '>=':
      return greater(graph, index, value, 'jge', pass, fail);
    case '<':
      return greater(graph, index, value, 'jge', fail, pass);
  }
}

const ALL_BITS = 0xffff_ffff_ffff_ffffn;
const ALL_WORD_BITS = 0xffff_ffff;

function equal(graph: Graph, index: number, value: bigint, mask: bigint, pass: Node, fail: Node): Node {
  const lower = equalWord(graph, lowOffset(index), lowWord(value), lowWord(mask), pass, fail);
  return equalWord(graph, highOffset(index), highWord(value), highWord(mask), lower, fail);
}

/** A half that the mask leaves nothing of is equal (the value has no bits outside the mask), so it is not looked at. */
function equalWord(graph: Graph, offset: number, value: number, mask: number, pass: Node, fail: Node): Node {
  if (mask === 0 || pass === fail) return pass;
  const test = graph.branch('jeq', value, pass, fail);
  return graph.load(offset, mask === ALL_WORD_BITS ? test : graph.and(mask, test));
}

/** The upper halves decide, unless they are equal: then the lower halves do, by the test given. */
function greater(graph: Graph, index: number, value: bigint, test: 'jgt' | 'jge', pass: Node, fail: Node): Node {
  const lower = graph.load(lowOffset(index), graph.branch(test, lowWord(value), pass, fail));
  const notAbove = graph.branch('jeq', highWord(value), lower, fail);
  return graph.load(highOffset(index), graph.branch('jgt', highWord(value), pass, notAbove));
}

function lowOffset(index: number): number {
  return OFFSET.args + 8 * index;
}

function highOffset(index: number): number {
  return lowOffset(index) + 4;
}

function lowWord(value: bigint): number {
  return Number(value & 0xffff_ffffn);
}

function highWord(value: bigint): number {
  return Number(value >> 32n);
}
