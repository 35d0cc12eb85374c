import type { Plan } from '../plan/steps.ts';
import type { TreeView } from '../root-view.ts';

/** os-release(5) */
const OS_RELEASE = ['/etc/os-release', '/usr/lib/os-release'];

/** Refuses a tree that can't be what was asked for. Throws an Error that says what it lacks. */
export function checkTree({ directory, template, payload, steps }: Plan, root: TreeView): void {
  const checked = template ?? directory;
  if (payload.boot) {
    if (OS_RELEASE.some(path => root.status(path))) return;
    throw new Error(`booting ${checked}: it is no OS tree, as it has neither ${OS_RELEASE.join(' nor ')}`);
  }
  const program = payload.command[0]?.startsWith('/') ? payload.command[0] : '/usr/bin';
  // What is linked into /usr may have its link made yet.
  if (root.has(program) || root.has(`/usr${program}`)) return;
  if (payload.files.some(({ path }) => path === program)) return;
  // It may be in what is bound to there.
  const bound = steps.flatMap(({ action }) => (action.do === 'bind' || action.do === 'attach' ? [action.path] : []));
  if (bound.some(path => `${program}/`.startsWith(`${path}/`))) return;
  throw new Error(`starting a container on ${checked}: it has no ${program}`);
}
