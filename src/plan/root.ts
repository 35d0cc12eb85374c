/** The root file system: the tree itself, or what --volatile= makes of it. */
import { MOUNT_ATTR } from '../../syscalls/constants.ts';
import { readHostFile } from '../host.ts';
import type { VolatileMode } from '../options.ts';
import type { RootView } from '../root-view.ts';
import { type HostObject, must, type PlanPart, ROOT, VOLATILE_LOWER } from './steps.ts';
import { mountsToHide } from './submounts.ts';

/** What --volatile=state mounts over the read-only tree. */
export const VOLATILE_VAR = must({
  do: 'mount',
  type: 'tmpfs',
  path: '/var',
  options: [{ key: 'mode', value: '755' }],
  attributes: MOUNT_ATTR.STRICTATIME,
});

const tree = (path: string, changes: Partial<Extract<HostObject, { kind: 'tree' }>> = {}): HostObject => ({
  kind: 'tree',
  path,
  inRoot: false,
  recursive: true,
  readOnly: false,
  ...changes,
});

/**
 * The host objects and steps that make the root of `directory`, which `view` looks at; `ephemeral` when that is not
 * written to, but an ephemeral root of it is.
 */
export function rootMounts(directory: string, view: RootView, volatile: VolatileMode, ephemeral: boolean): PlanPart {
  // It has nothing of the mounts below the directory.
  if (ephemeral) return { hostObjects: { [ROOT]: { kind: 'ephemeral', path: directory } }, before: [], steps: [] };
  switch (volatile) {
    case 'no':
    case 'state': {
      const mountinfo = readHostFile('/proc/self/mountinfo').toString();
      return {
        hostObjects: { [ROOT]: tree(directory) },
        before: [],
        steps: mountsToHide(directory, view, mountinfo).map(path => must({ do: 'unmount', path })),
      };
    }
    case 'yes':
      return {
        hostObjects: {
          [ROOT]: { kind: 'scratch', readOnly: false },
          'volatile /usr': tree('/usr', { inRoot: true, readOnly: true }),
        },
        before: [],
        steps: [must({ do: 'attach', object: 'volatile /usr', path: '/usr' })],
      };
    case 'overlay':
      // An overlay has nothing of the mounts below its layers.
      return overlayInMemory(tree(directory, { recursive: false }));
  }
}

/** A root that is `lower` to begin with; what is written to it is in memory. */
export const overlayInMemory = (lower: HostObject): PlanPart => ({
  hostObjects: { [VOLATILE_LOWER]: lower, 'volatile upper': { kind: 'scratch', readOnly: false } },
  before: [
    must({
      do: 'make overlay',
      overlay: ROOT,
      lower: [VOLATILE_LOWER],
      upper: { object: 'volatile upper', directory: 'upper', work: 'work' },
    }),
  ],
  steps: [],
});
