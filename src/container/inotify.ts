/**
 * Room for the inotify instances of containers that boot. The kernel counts those of all processes of a user together,
 * and allows 128 by itself: see inotify(7). A systemd with its services takes some five, so with two dozen containers
 * whatever starts next fails with "Too many open files".
 */
import { readHostFile, writeHostFile } from '../host.ts';
import type { Logger } from '../log.ts';

const LIMIT = '/proc/sys/fs/inotify/max_user_instances';
/** What a container may take, and what the host is left for itself. */
const INSTANCES = { perContainer: 12, host: 64 } as const;

/** Raises the host's limit if `containers` may need more. It stays raised: it only limits, and takes no memory. */
export function makeRoomForInotify(containers: number, log: Logger): void {
  try {
    const limit = Number(readHostFile(LIMIT).toString());
    const needed = INSTANCES.host + containers * INSTANCES.perContainer;
    if (limit >= needed) return;
    // Twice that, so that this is seldom done.
    writeHostFile(LIMIT, `${2 * needed}`);
    log.info(`raised fs.inotify.max_user_instances from ${limit} to ${2 * needed}, for ${containers} containers`);
  } catch (error) {
    // A read-only /proc/sys, such as in a container: then there is room for as many as there is.
    log.debug(`making room for inotify instances: ${(error as Error).message}`);
  }
}
