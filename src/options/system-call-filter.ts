import type { SystemCallLists } from '../options.ts';

/**
 * The lists with the names of one more: calls and groups such as @clock with blanks between, after a `~` to be forbidden.
 */
export function withSystemCalls({ allow = [], deny = [] }: SystemCallLists, text: string): SystemCallLists {
  const names = (list: string) => list.split(/[ \t\r\n]+/).filter(name => name !== '');
  return text.startsWith('~')
    ? { allow, deny: [...deny, ...names(text.slice(1))] }
    : { allow: [...allow, ...names(text)], deny };
}
