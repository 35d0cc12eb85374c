/**
 * A filter as a decision graph: what is looked at and where each answer leads, before instructions have places.
 * There are no loops: classic BPF only jumps forward.
 */

/** A step of the decision. `next`, `then` and `otherwise` are the steps after it; A is BPF's accumulator. */
export type Node =
  /** The filter's answer. */
  | { id: number; type: 'return'; word: number }
  /** A = word at this offset of seccomp_data. */
  | { id: number; type: 'load'; offset: number; next: Node }
  /** A = A & mask. */
  | { id: number; type: 'and'; mask: number; next: Node }
  /** Compares A with a number, unsigned. */
  | { id: number; type: 'branch'; test: Test; value: number; then: Node; otherwise: Node };

/** BPF's tests of A that filters need: == > >= */
export type Test = 'jeq' | 'jgt' | 'jge';

/** Makes the nodes of one graph. Equal nodes are one object, so that equal parts of a filter are there once. */
export interface Graph {
  returns(word: number): Node;
  load(offset: number, next: Node): Node;
  and(mask: number, next: Node): Node;
  branch(test: Test, value: number, then: Node, otherwise: Node): Node;
}

/** An empty graph. */
export function createGraph(): Graph {
  const nodes = new Map<string, Node>();

  function unique(key: string, create: (id: number) => Node): Node {
    let node = nodes.get(key);
    if (node === undefined) {
      node = create(nodes.size);
      nodes.set(key, node);
    }
    return node;
  }

  return {
    returns: word => unique(`return ${word}`, id => ({ id, type: 'return', word })),
    load(offset, next) {
      if (next.type === 'return') return next;
      return unique(`load ${offset} ${next.id}`, id => ({ id, type: 'load', offset, next }));
    },
    and: (mask, next) => unique(`and ${mask} ${next.id}`, id => ({ id, type: 'and', mask, next })),
    branch(test, value, then, otherwise) {
      if (then === otherwise) return then;
      const key = `${test} ${value} ${then.id} ${otherwise.id}`;
      return unique(key, id => ({ id, type: 'branch', test, value, then, otherwise }));
    },
  };
}
