/**
 * From a filter to its program: a jump by architecture, a binary tree over the syscall numbers, then the conditions
 * on arguments.
 *
 * The tree only tests the number. So the kernel, which tries out a filter for every number when it is loaded (5.11 and
 * later: seccomp_cache_prepare() in kernel/seccomp.c), finds the calls that are always allowed and never runs the
 * filter for them.
 */

import { encodeAction } from './action.ts';
import type { Architecture } from './arch.ts';
import { AUDIT_ARCH, numberSpans, syscallNumber } from './arch.ts';
import { encode, OFFSET } from './bpf.ts';
import { conditionNode } from './conditions.ts';
import type { Graph, Node } from './graph.ts';
import { createGraph } from './graph.ts';
import { link } from './link.ts';
import type { Filter, Rule } from './rules.ts';
import { checkFilter } from './rules.ts';

/** The syscall numbers from here up to the next range's first, and what is done on them. */
interface Range {
  from: number;
  outcome: Node;
}

/** A syscall number that rules are about, and what is done on it. */
interface Decided {
  number: number;
  outcome: Node;
}

/**
 * The program of a filter: an array of struct sock_filter, little-endian, for seccomp(SECCOMP_SET_MODE_FILTER).
 *
 * Rules for calls that an architecture lacks are left out for that architecture, silently. Throws FilterError for a
 * rule that makes no sense and for a program longer than the kernel takes (4096 instructions).
 */
export function compile(filter: Filter): Uint8Array {
  checkFilter(filter);
  return encode(link(decisionGraph(filter)));
}

function decisionGraph(filter: Filter): Node {
  const graph = createGraph();
  const unknown = graph.returns(encodeAction(filter.unknownArchitecture ?? 'kill-process'));
  const auditArchs = [...new Set(filter.architectures.map(({ name }) => AUDIT_ARCH[name]))];
  const dispatch = auditArchs.reduceRight((otherwise, auditArch) => {
    const members = filter.architectures.filter(({ name }) => AUDIT_ARCH[name] === auditArch);
    const byNumber = tree(graph, numberRanges(graph, filter, members, unknown));
    return graph.branch('jeq', auditArch, graph.load(OFFSET.nr, byNumber), otherwise);
  }, unknown);
  return graph.load(OFFSET.arch, dispatch);
}

/**
 * What is done on each of the 2^32 syscall numbers of one value of seccomp_data.arch. `members` are the filter's
 * architectures that share the value; the numbers of others that do lead to `unknown`.
 */
function numberRanges(graph: Graph, filter: Filter, members: readonly Architecture[], unknown: Node): Range[] {
  const byDefault = graph.returns(encodeAction(filter.defaultAction));
  const decided: Decided[] = [];
  for (const architecture of members) decided.push(...decidedNumbers(graph, filter.rules, architecture, byDefault));
  decided.sort((a, b) => a.number - b.number);

  const ranges: Range[] = [];
  for (const { from, end, owner } of numberSpans(members[0]!.name)) {
    if (!members.some(({ name }) => name === owner)) {
      append(ranges, from, unknown);
      continue;
    }
    append(ranges, from, byDefault);
    for (const { number, outcome } of decided) {
      if (number < from || number >= end) continue;
      append(ranges, number, outcome);
      append(ranges, number + 1, byDefault);
    }
  }
  return ranges;
}

/** Adds a range at the end, in place of an empty one and as part of one with the same outcome. */
function append(ranges: Range[], from: number, outcome: Node): void {
  if (ranges.at(-1)?.from === from) ranges.pop();
  if (ranges.at(-1)?.outcome !== outcome) ranges.push({ from, outcome });
}

/** The numbers that an architecture's rules are about. Two names may share a number, so rules go by number. */
function decidedNumbers(graph: Graph, rules: readonly Rule[], architecture: Architecture, byDefault: Node): Decided[] {
  const rulesByNumber = new Map<number, Rule[]>();
  for (const rule of rules) {
    const number = syscallNumber(architecture, rule.syscall);
    if (number === undefined) continue;
    const same = rulesByNumber.get(number);
    if (same === undefined) rulesByNumber.set(number, [rule]);
    else same.push(rule);
  }
  return [...rulesByNumber].map(([number, same]) => ({ number, outcome: firstMatch(graph, same, byDefault) }));
}

/** The first rule that holds decides, so each one is what the one before it falls back to. */
function firstMatch(graph: Graph, rules: readonly Rule[], byDefault: Node): Node {
  return rules.reduceRight((otherwise, { args = [], action }) => {
    const actionNode = graph.returns(encodeAction(action));
    return args.reduceRight((pass, condition) => conditionNode(graph, condition, pass, otherwise), actionNode);
  }, byDefault);
}

/** A balanced binary tree that finds the range of the number in A. */
function tree(graph: Graph, ranges: readonly Range[]): Node {
  if (ranges.length === 1) return ranges[0]!.outcome;
  const middle = ranges.length >> 1;
  const [lower, upper] = [ranges.slice(0, middle), ranges.slice(middle)];
  return graph.branch('jge', upper[0]!.from, tree(graph, upper), tree(graph, lower));
}
