/** Disk images with --ephemeral: nothing is written to them, but to overlays over each of their file systems. */
import { MOUNT_ATTR, S } from '../../syscalls/constants.ts';
import { fileType, splitPath } from '../../syscalls/file.ts';
import { setMountAttributes } from '../../syscalls/mount.ts';
import { perform } from '../../syscalls/syscall.ts';
import { hostStatus } from '../host.ts';
import { type OpenImage, openImage } from '../image/open.ts';
import type { Logger } from '../log.ts';
import type { FileSystem, Plan } from '../plan/steps.ts';
import { type EphemeralRoot, overlayRoot } from './ephemeral.ts';

/** The kernel has no overlays over these, as their names are equal in upper and lower case. They stay read-only. */
const NO_LAYER: readonly string[] = ['vfat', 'exfat'];

/**
 * Opens the image of a plan. Disposing of it removes all that was written: containers on it must have ended then. Throws
 * an Error.
 */
export async function openEphemeralImage(plan: Plan, log: Logger): Promise<OpenImage> {
  using opening = new DisposableStack();
  const image = opening.use(await openImage(plan));
  const isDevice = fileType(hostStatus(plan.directory)?.mode ?? 0) === S.IFBLK;
  const places = isDevice ? [] : [splitPath(plan.directory).parent];
  const overlays = new Map<number, EphemeralRoot>();
  const held = opening.move();

  const overlayOf = (wanted: FileSystem): EphemeralRoot => {
    const known = overlays.get(wanted.offset);
    if (known) return known;
    using lower = image.mount(wanted);
    const made = held.use(overlayRoot(lower.fd, places, log));
    overlays.set(wanted.offset, made);
    return made;
  };
  return {
    mount(wanted) {
      if (NO_LAYER.includes(wanted.type)) return image.mount(wanted);
      using made = new DisposableStack();
      const mount = made.use(overlayOf(wanted).clone('/', false));
      perform(setMountAttributes(mount.fd, { set: wanted.attributes & ~MOUNT_ATTR.RDONLY }));
      made.move();
      return mount;
    },
    released: logger => image.released(logger),
    [Symbol.dispose]: () => held.dispose(),
  };
}
