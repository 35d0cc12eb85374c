/** Interfaces of the host that a container is to have, or to have others made on. */
import { getLink, type Link } from '../../netlink/index.ts';
import { hostHas, readIfThere } from '../host.ts';
import type { Side } from './network.ts';

const UDEV = '/run/udev';

/** Finds an interface. Throws an Error if it isn't there, or if udev, where it runs, isn't done with it yet. */
export function findInterface({ connection }: Side, name: string): Link {
  const link = connection.get(getLink(name));
  // systemd-udevd.service(8) gives the interface its name and settings, then it writes that down; sd_device(3) reads it.
  const isInitialized = () => /^I:/m.test(readIfThere(`${UDEV}/data/n${link.index}`)?.toString() ?? '');
  if (hostHas(`${UDEV}/control`) && !isInitialized()) {
    throw new Error(`network interface ${name} is not initialized yet, says udev`);
  }
  return link;
}
