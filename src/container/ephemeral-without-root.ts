/** The root of --ephemeral where nspawn runs as an ordinary user: a place for what is written, beside the tree. */
import type { Logger } from '../log.ts';
import { viewRoot } from '../root-view.ts';
import { makeDirectoriesOurs } from '../users/make-ours.ts';
import { type EphemeralRoot, inFirstOf } from './ephemeral.ts';
import { lockTree } from './lock.ts';

/** Makes it for the directory `path`; containers mount it themselves: src/users/attach-ephemeral.ts. Throws an Error. */
export function makeEphemeralRootWithoutRoot(path: string, log: Logger): EphemeralRoot {
  using made = new DisposableStack();
  // What is below an overlay must not change.
  made.use(lockTree(path, 'shared'));
  const ours = made.use(makeDirectoriesOurs());
  const beside = path.replace(/\/[^/]*$/, '') || '/';
  const makeRoot = (name: string, place: string): EphemeralRoot => ({
    layers: `${place === '/' ? '' : place}/${name}`,
    view: () => viewRoot(path),
    clone() {
      throw new Error('the container mounts it itself');
    },
    [Symbol.dispose]() {},
  });
  const root = made.use(inFirstOf([beside], log, ({ name }, place) => makeRoot(name, place), ours.make));
  const held = made.move();
  return { ...root, [Symbol.dispose]: () => held.dispose() };
}
