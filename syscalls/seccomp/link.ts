/**
 * Lays a decision graph out as instructions.
 *
 * A conditional jump skips 255 instructions at most, and what is inserted to get farther moves everything before it.
 * So the program is built from its end: whatever a jump leads to has its place already, every distance is known at
 * once, and nothing has to be tried again.
 */

import type { Instruction } from './bpf.ts';
import { CODE, MAX_INSTRUCTIONS } from './bpf.ts';
import { FilterError } from './errors.ts';
import type { Node } from './graph.ts';

/** Longest skip counted on: jt and jf have 8 bits, and one instruction may yet come between (see reach()). */
const LONGEST_SKIP = 254;

/** The instructions of the program that starts at a node. Throws FilterError if they are more than the kernel takes. */
export function link(entry: Node): Instruction[] {
  /** The program, last instruction first. Places are indexes into it, so a smaller place is later in the program. */
  const reversed: Instruction[] = [];
  /** Place of a node's own instruction. */
  const home = new Map<Node, number>();
  /** The foremost place that leads to a node: its own instruction, a copy, or a jump to it. */
  const landing = new Map<Node, number>();

  function emit(code: number, k: number, jt = 0, jf = 0): number {
    if (reversed.length === MAX_INSTRUCTIONS) throw tooLong();
    return reversed.push({ code, jt, jf, k }) - 1;
  }

  /** Instructions to skip from the one emitted next to a place. */
  function skip(place: number): number {
    return reversed.length - place - 1;
  }

  /** Puts a node with all that follows it into the program, unless it is there. `depth`: nodes on the way to it. */
  function place(node: Node, depth: number): void {
    if (home.has(node)) return;
    // A way through the graph never gets shorter in the program; this also keeps the recursion within the stack.
    if (depth === MAX_INSTRUCTIONS) throw tooLong();
    const at = emitNode(node, depth);
    home.set(node, at);
    landing.set(node, at);
  }

  function emitNode(node: Node, depth: number): number {
    switch (node.type) {
      case 'return':
        return emit(CODE.ret, node.word);
      case 'load':
      case 'and':
        place(node.next, depth + 1);
        if (skip(landing.get(node.next)!) > 0) bridge(node.next);
        return node.type === 'load' ? emit(CODE.ld, node.offset) : emit(CODE.and, node.mask);
      case 'branch':
        place(node.then, depth + 1);
        place(node.otherwise, depth + 1);
        reach(node.then);
        reach(node.otherwise);
        return emit(CODE[node.test], node.value, skip(landing.get(node.then)!), skip(landing.get(node.otherwise)!));
    }
  }

  /** Sees to it that a conditional jump can skip to a node, also if this is done for another node after it. */
  function reach(node: Node): void {
    if (skip(landing.get(node)!) > LONGEST_SKIP) bridge(node);
  }

  /** Makes a node's next landing: a jump to it; for a return a copy, which takes no more room and saves the jump. */
  function bridge(node: Node): void {
    const at = node.type === 'return' ? emit(CODE.ret, node.word) : emit(CODE.ja, skip(home.get(node)!));
    landing.set(node, at);
  }

  place(entry, 0);
  return reversed.reverse();
}

function tooLong(): FilterError {
  return new FilterError(
    `seccomp filter: its program is longer than the ${MAX_INSTRUCTIONS} instructions that the kernel takes`,
  );
}
