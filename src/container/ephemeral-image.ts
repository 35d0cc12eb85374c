/** Disk images with --ephemeral: nothing is written to them, but to overlays over each of their file systems. */
import { MOUNT_ATTR, S } from '../../syscalls/constants.ts';
import { fileType, splitPath } from '../../syscalls/file.ts';
import { setMountAttributes } from '../../syscalls/mount.ts';
import { perform } from '../../syscalls/syscall.ts';
import { hostStatus } from '../host.ts';
import { type OpenImage, openImage } from '../image/open.ts';
import type { Logger } from '../log.ts';
import type { FileSystem, Plan } from '../plan/steps.ts';
import { type EphemeralRoot, type OtherOwners, overlayRoot } from './ephemeral.ts';

/** The kernel has no overlays over these, as their names are equal in upper and lower case. They stay read-only. */
const NO_LAYER: readonly string[] = ['vfat', 'exfat'];

/**
 * Opens the image of a plan. Disposing of it removes all that was written: containers on it must have ended then. Throws
 * an Error. `settle` is told the first of the file systems, and returns what shows them with other owners.
 */
export async function openEphemeralImage(
  plan: Plan,
  log: Logger,
  settle?: (root: number) => OtherOwners | undefined,
): Promise<OpenImage> {
  using opening = new DisposableStack();
  const image = opening.use(await openImage(plan));
  const isDevice = fileType(hostStatus(plan.directory)?.mode ?? 0) === S.IFBLK;
  const places = isDevice ? [] : [splitPath(plan.directory).parent];
  const overlays = new Map<number, EphemeralRoot>();
  let owners: OtherOwners | undefined;
  let held: DisposableStack | undefined;
  const overlayOf = (wanted: FileSystem): EphemeralRoot => {
    const known = overlays.get(wanted.offset);
    if (known) return known;
    using first = settle && image.mount(wanted);
    if (overlays.size === 0 && first) owners = settle?.(first.fd);
    const made = (held ?? opening).use(overlayRoot(() => image.mount(wanted), places, log, owners));
    overlays.set(wanted.offset, made);
    return made;
  };
  const first = Object.values(plan.hostObjects).find(object => object.kind === 'file system');
  if (settle && first) overlayOf(first);
  held = opening.move();
  return {
    mount(wanted) {
      using made = new DisposableStack();
      if (NO_LAYER.includes(wanted.type)) {
        const mount = made.use(image.mount(wanted));
        owners?.map(mount.fd);
        made.move();
        return mount;
      }
      const mount = made.use(overlayOf(wanted).clone('/', false));
      perform(setMountAttributes(mount.fd, { set: wanted.attributes & ~MOUNT_ATTR.RDONLY }));
      made.move();
      return mount;
    },
    released: logger => image.released(logger),
    [Symbol.dispose]: () => held?.dispose(),
  };
}
