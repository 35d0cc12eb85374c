/** --link-journal=: where the host finds the journal of the container. See systemd-nspawn(1). */
import { hostHas, readLink } from '../host.ts';
import type { ContainerOptions } from '../options.ts';
import type { RootView } from '../root-view.ts';
import { machineIdOf } from './machine-id.ts';
import { must, type Step } from './steps.ts';

/** Below it each machine has a directory, which is named by its id. */
export const JOURNALS = '/var/log/journal';

/**
 * The step for it, if there is something to do. `view` is of the tree, if it is a directory; `writesTo` is the host's
 * path of what the container writes to.
 */
export function journalSteps(
  { linkJournal: mode = 'auto', ephemeral }: ContainerOptions,
  view: RootView | undefined,
  writesTo: string | undefined,
): Step[] {
  if (mode === 'no' || ephemeral || (mode === 'auto' && !hostMayHave(view))) return [];
  return [must({ do: 'link journal', mode, ...(writesTo !== undefined && { writesTo }) })];
}

/** Whether the host has something for the tree's machine id, which in an image shows only when that is mounted. */
function hostMayHave(view: RootView | undefined): boolean {
  if (!hostHas(JOURNALS)) return false;
  if (!view) return true;
  const id = machineIdOf(view);
  if (id === undefined) return false;
  const path = `${JOURNALS}/${id}`;
  // A symlink to nowhere is something, too.
  return hostHas(path) || readLink(path) !== undefined;
}
