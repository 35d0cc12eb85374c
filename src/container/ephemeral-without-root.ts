/** The root of --ephemeral where nspawn runs as an ordinary user: a place for what is written, beside the tree. */
import { call } from '../../syscalls/call.ts';
import { S } from '../../syscalls/constants.ts';
import { perform, syscall } from '../../syscalls/syscall.ts';
import { hostStatus } from '../host.ts';
import type { Logger } from '../log.ts';
import { UPPER, WHOLE } from '../plan/split-overlay.ts';
import type { HostObject, Plan } from '../plan/steps.ts';
import { viewRoot } from '../root-view.ts';
import type { HiddenDirectory } from '../trees/hidden-directory.ts';
import { makeDirectoriesOurs } from '../users/make-ours.ts';
import { type EphemeralRoot, inFirstOf } from './ephemeral.ts';
import { lockTree } from './lock.ts';

type Layer = Extract<HostObject, { kind: 'layer' }>;

/** Makes it for a plan; containers mount it themselves: src/users/attach-ephemeral.ts. Throws an Error. */
export function makeEphemeralRootWithoutRoot({ directory: path, hostObjects }: Plan, log: Logger): EphemeralRoot {
  using made = new DisposableStack();
  // What is below an overlay must not change.
  made.use(lockTree(path, 'shared'));
  const ours = made.use(makeDirectoriesOurs());
  const beside = path.replace(/\/[^/]*$/, '') || '/';
  const layers = Object.values(hostObjects).filter((each): each is Layer => each.kind === 'layer');
  const makeRoot = (hidden: HiddenDirectory, place: string): EphemeralRoot => {
    hide(hidden, place, layers);
    return {
      layers: `${place === '/' ? '' : place}/${hidden.name}`,
      view: () => viewRoot(path),
      clone() {
        throw new Error('the container mounts it itself');
      },
      [Symbol.dispose]() {},
    };
  };
  const root = made.use(inFirstOf(path === '/' ? [] : [beside], log, makeRoot, ours.make));
  const held = made.move();
  return { ...root, [Symbol.dispose]: () => held.dispose() };
}

/**
 * Takes the hidden directory in `place` away from who sees that place in a part of the root: the kernel takes a device 0:0
 * in the upper layer for something that was removed. Whoever owns the layer may make such.
 */
function hide(hidden: HiddenDirectory, place: string, layers: readonly Layer[]): void {
  const layer = layers.find(({ name, path }) => name !== WHOLE && `${place}/`.startsWith(`${path}/`));
  if (!layer) return;
  const make = (path: string, mode: number) => {
    syscall('mkdirat', hidden.fd, path, mode);
    // Whatever the umask.
    perform(call('fchmodat', hidden.fd, path, mode));
  };
  const above = layer.name.split('/');
  for (const i of above.keys()) make(above.slice(0, i + 1).join('/'), 0o755);
  let [made, shown] = [`${layer.name}/${UPPER}`, layer.path];
  make(made, modeOf(shown));
  for (const name of place.slice(layer.path.length).split('/').filter(Boolean)) {
    made += `/${name}`;
    shown += `/${name}`;
    make(made, modeOf(shown));
  }
  syscall('mknodat', hidden.fd, `${made}/${hidden.name}`, S.IFCHR, 0);
}

const modeOf = (path: string): number => (hostStatus(path)?.mode ?? 0o755) & 0o7777;
