/** The addresses of a container's network, read from outside: proc_pid_net(5). */
import { readIfThere, readLink } from '../host.ts';

/** The addresses of a process's network, without those of lo and of the links themselves; none if it has the host's. */
export function addressesOf(pid: number): string[] {
  if (readLink(`/proc/${pid}/ns/net`) === readLink('/proc/self/ns/net')) return [];
  return [...new Set([...addresses4(pid), ...addresses6(pid)])];
}

/** The table of routes has each address of the machine as a local one: `|-- 192.0.2.1`, then `/32 host LOCAL`. */
function addresses4(pid: number): string[] {
  const table = readIfThere(`/proc/${pid}/net/fib_trie`)?.toString() ?? '';
  const found = [...table.matchAll(/\|-- (\S+)\n\s*\/32 host LOCAL/g)].map(([, address]) => address!);
  return found.filter(address => !address.startsWith('127.'));
}

/** Lines of 32 digits, index, prefix length, scope, flags, name. */
function addresses6(pid: number): string[] {
  const table = readIfThere(`/proc/${pid}/net/if_inet6`)?.toString() ?? '';
  return table
    .split('\n')
    .map(line => line.trim().split(/\s+/))
    .filter(([, , , scope]) => scope === GLOBAL)
    .map(([digits = '']) => shorten(digits));
}

/** IPV6_ADDR_SCOPE_ of net/ipv6.h */
const GLOBAL = '00';

/** 32 digits as RFC 5952 writes them. */
function shorten(digits: string): string {
  const groups = digits.match(/.{4}/g) ?? [];
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}
