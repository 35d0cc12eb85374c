/**
 * The bridges of --network-zone=: made with the first container of a zone, removed with the last one. Whoever joins
 * or leaves a zone holds a lock meanwhile. A bridge with ports is in use; one of ours without any belongs to nobody.
 */
import {
  type Connection,
  deleteLink,
  dumpLinks,
  encodeRequest,
  type Link,
  newLink,
  setLink,
} from '../../netlink/index.ts';
import { entrust } from '../../syscalls/agent/janitor.ts';
import { allowing, type Call, call, resultOf } from '../../syscalls/call.ts';
import { AT, LOCK, O } from '../../syscalls/constants.ts';
import { type OwnedFd, owned } from '../../syscalls/fd.ts';
import { getRlimit, sleep } from '../../syscalls/process.ts';
import { perform } from '../../syscalls/syscall.ts';
import { makeRuntimeDirectory, runtimeDirectory } from '../runtime-directory.ts';
import { atEnd, changedIfThere, isRefusal, type Network, sending } from './network.ts';

/** It stays: removing it would need a lock as well. */
const lockFile = () => `${runtimeDirectory()}/zones.lock`;
/** What `ip link` shows as the alias of a bridge that we have made: the record of it, for as long as it is there. */
const OURS = 'zone of nspawn';

/**
 * Has a link made on a zone's bridge, which is made if it is missing. `make` returns the link's index, as this does.
 * Throws what `make` throws, SyscallError, netlink's errors, or an Error if the lock can't be had.
 */
export function joinZone(bridge: string, network: Network, make: () => number): number {
  const { host, keep } = network;
  const lock = keep.use(openLock());
  const fds = [host.socket, lock.fd];
  return whileLocked(lock.fd, () => {
    removeAbandoned(host.connection);
    using _ = entrust(fds, ([socket, file]) => removal(bridge, socket!, file!));
    using undo = new DisposableStack();
    const removing = `removing the bridge ${bridge}`;
    atEnd(network, removing, () => removeUnused(host.connection, bridge), undo);
    makeBridge(host.connection, bridge);
    const index = make();
    const deletion = deleteLink(index);
    atEnd(network, removing, () => changedIfThere(host, deletion), undo);

    // The link goes first, or the bridge still has a port.
    keep.use(entrust(fds, ([socket, file]) => [sending(socket!, deletion), ...removal(bridge, socket!, file!)]));
    atEnd(network, removing, () =>
      whileLocked(lock.fd, () => {
        changedIfThere(host, deletion);
        removeUnused(host.connection, bridge);
      }),
    );
    undo.move();
    return index;
  });
}

function openLock(): OwnedFd {
  makeRuntimeDirectory();
  return owned(perform(call('openat', AT.FDCWD, lockFile(), O.RDWR | O.CREAT | O.NOFOLLOW | O.CLOEXEC, 0o600)));
}

/** How long others may have the lock, in steps of so many milliseconds. */
const PATIENCE = { step: 10, steps: 1000 } as const;

function whileLocked<Result>(file: number, work: () => Result): Result {
  const attempt = allowing(lockNow(file), 'EAGAIN');
  for (let step = 0; perform(attempt) < 0; step++) {
    if (step === PATIENCE.steps) {
      throw new Error(`another nspawn has ${lockFile()} locked since ${(PATIENCE.step * PATIENCE.steps) / 1000} s`);
    }
    perform(sleep(PATIENCE.step));
  }
  try {
    return work();
  } finally {
    perform(call('flock', file, LOCK.UN));
  }
}

const lockNow = (file: number): Call => call('flock', file, LOCK.EX | LOCK.NB);

function makeBridge(connection: Connection, name: string): void {
  try {
    // Up, as nothing passes otherwise; systemd-nspawn leaves that to systemd-networkd.
    connection.execute(newLink({ kind: 'bridge', name, up: true }));
  } catch (error) {
    if (isRefusal(error, 'EEXIST')) return;
    throw error;
  }
  connection.execute(setLink(name, { alias: OURS }));
}

/** Removes bridges that killed containers have left. */
function removeAbandoned(connection: Connection): void {
  removeWithoutPorts(connection, link => link.alias === OURS);
}

function removeUnused(connection: Connection, bridge: string): void {
  removeWithoutPorts(connection, link => link.name === bridge);
}

function removeWithoutPorts(connection: Connection, isMeant: (link: Link) => boolean): void {
  const links = connection.dump(dumpLinks());
  const used = new Set(links.map(({ master }) => master));
  for (const link of links) {
    if (link.kind === 'bridge' && isMeant(link) && !used.has(link.index)) connection.execute(deleteLink(link.index));
  }
}

/** When the janitor tries, in milliseconds since the try before: somebody may have the lock. */
const TRIES = [0, 300];

/**
 * How the janitor removes a bridge without ports, with no more than system calls: each of them works out, by failing,
 * whether the next ones do anything.
 */
function removal(bridge: string, socket: number, file: number): Call[] {
  const message = encodeRequest(deleteLink(bridge), 0);
  const portsFd = spareNumber();
  return TRIES.flatMap(pause => {
    const lock = lockNow(file);
    const open = call('openat', AT.FDCWD, `/sys/class/net/${bridge}/brif`, O.RDONLY | O.DIRECTORY | O.CLOEXEC, 0);
    const list = () => call('getdents64', portsFd, { out: new Uint8Array(DOTS_SIZE) }, DOTS_SIZE);
    const ports = list();
    return [
      ...(pause ? [sleep(pause)] : []),
      lock,
      open,
      // Its flags must be 0, as is what flock(2) returns when it has the lock.
      call('dup3', resultOf(open), portsFd, resultOf(lock)),
      // `.` and `..`; what comes after them is the first port.
      list(),
      ports,
      call('close', portsFd),
      // No name, as there is none to be read, means 0 bytes of an address. More bytes would be a wrong one, fewer an error.
      call('sendto', socket, message, message.length, 0, NO_ADDRESS, resultOf(ports)),
    ];
  });
}

/**
 * The number of a descriptor that the janitor doesn't have, so that nothing is there where the list of ports could not be
 * had. The kernel takes the lowest that are free, and all wills together have fewer than these.
 */
function spareNumber(): number {
  const { soft } = getRlimit(0, RLIMIT_NOFILE);
  return (soft === 'infinity' || soft > MOST_FDS ? MOST_FDS : Number(soft)) - 1;
}
/** asm-generic/resource.h */
const RLIMIT_NOFILE = 7;
/** Not all that there may be: the kernel's table is as long as the highest number. */
const MOST_FDS = 4096;

/** Two of struct linux_dirent64: 19 bytes and a name, rounded up to 8. getdents(2) */
const DOTS_SIZE = 48;
/** struct sockaddr_storage, of a family that netlink does not know. */
const NO_ADDRESS = new Uint8Array(128);
