/**
 * Waiting until descriptors can be read or written. The runtimes have nothing for it that holds for terminals and
 * pipes alike, and koffi's PollHandle needs libuv, which Bun lacks. So one epoll instance has all descriptors, and one
 * thread of the runtime's pool is in epoll_wait(2), only while somebody waits. See epoll(7).
 */
import process from 'node:process';
import { allowing, call } from './call.ts';
import { O } from './constants.ts';
import { closeFd, type OwnedFd } from './fd.ts';
import { type Koffi, loadKoffi } from './koffi.ts';
import { addressOf, perform, syscall } from './syscall.ts';

/** linux/eventpoll.h */
const EPOLL_CTL = { ADD: 1, DEL: 2, MOD: 3 } as const;
const EPOLL = { IN: 0x1, OUT: 0x4, ERR: 0x8, HUP: 0x10, ONESHOT: 1 << 30 } as const;
/** struct epoll_event: the events, and a word of the caller's; packed on x86-64 only. */
const EVENT = process.arch === 'x64' ? { data: 4, size: 12 } : { data: 8, size: 16 };
const MOST_EVENTS = 64;
const FOREVER = -1;

type Direction = 'readable' | 'writable';
const MASK: Readonly<Record<Direction, number>> = { readable: EPOLL.IN, writable: EPOLL.OUT };

/** Who waits for a descriptor; each is called once. */
type Waiters = Record<Direction, (() => void)[]>;

interface Instance {
  epoll: number;
  /** An eventfd(2) in the set: writing it ends epoll_wait. */
  wakeup: number;
  events: DataView;
  wait: ReturnType<ReturnType<Koffi['load']>['func']>;
}

const descriptors = new Map<number, Waiters>();
let instance: Instance | undefined;
/** True while the thread is in epoll_wait. */
let inThread = false;

/**
 * Resolves when a read won't block: there is something to read, or the end, or an error. It may resolve without any of
 * them, and does when waiting is stopped. Keeps the process alive. Throws SyscallError; EPERM for what is always ready, such
 * as regular files. Call `stopWaiting` before closing the descriptor.
 */
export const untilReadable = (fd: number): Promise<void> => until('readable', fd);

/** Resolves when a write of some bytes won't block; all else as with `untilReadable`. */
export const untilWritable = (fd: number): Promise<void> => until('writable', fd);

function until(direction: Direction, fd: number): Promise<void> {
  return new Promise(resolve => {
    const known = descriptors.get(fd);
    const waiters = known ?? { readable: [], writable: [] };
    waiters[direction].push(resolve);
    instance ??= open();
    try {
      watch(known ? EPOLL_CTL.MOD : EPOLL_CTL.ADD, fd, waiters);
      descriptors.set(fd, waiters);
      enterThread(instance);
    } finally {
      closeIfUnused();
    }
  });
}

/** Ends all waiting for a descriptor: whoever waits goes on. Does nothing for one that was never waited for. */
export function stopWaiting(fd: number): void {
  const waiters = descriptors.get(fd);
  if (!waiters || !instance) return;
  descriptors.delete(fd);
  syscall('epoll_ctl', instance.epoll, EPOLL_CTL.DEL, fd, null);
  release(waiters, 'readable', 'writable');
  if (inThread && !isAnyoneWaiting()) leaveThread();
  closeIfUnused();
}

/** What a connection's socket has for an event loop; it takes the descriptor over. Both as StreamSocket says. */
export function waitable(file: OwnedFd): { readable(): Promise<boolean>; close(): void } {
  let isOpen = true;
  return {
    async readable() {
      while (isOpen) {
        if (isReady('readable', file.fd)) return true;
        await untilReadable(file.fd);
      }
      return false;
    },
    close() {
      if (!isOpen) return;
      isOpen = false;
      stopWaiting(file.fd);
      file[Symbol.dispose]();
    },
  };
}

/** True if a read (a write of some bytes) won't block just now; always for regular files. */
export function isReady(direction: Direction, fd: number): boolean {
  /** struct pollfd of asm-generic/poll.h, whose first bits are epoll's: fd, events, revents */
  const poll = new DataView(new ArrayBuffer(8));
  poll.setInt32(0, fd, true);
  poll.setInt16(4, MASK[direction], true);
  const noTime = new Uint8Array(16);
  return syscall('ppoll', { out: new Uint8Array(poll.buffer) }, 1, noTime, null, 0) > 0;
}

function open(): Instance {
  const epoll = syscall('epoll_create1', O.CLOEXEC);
  const wakeup = syscall('eventfd2', 0, O.CLOEXEC | O.NONBLOCK);
  const events = new DataView(new ArrayBuffer(MOST_EVENTS * EVENT.size));
  const wait = loadKoffi().load(null).func('int epoll_wait(int epoll, long events, int most, int milliseconds)');
  syscall('epoll_ctl', epoll, EPOLL_CTL.ADD, wakeup, epollEvent(EPOLL.IN, wakeup));
  // At its exit Node waits for its threads.
  process.on('exit', leaveThread);
  return { epoll, wakeup, events, wait };
}

/** Neither a thread nor a descriptor stays behind when there is nothing more to watch. */
function closeIfUnused(): void {
  if (!instance || inThread || descriptors.size > 0) return;
  process.off('exit', leaveThread);
  closeFd(instance.epoll);
  closeFd(instance.wakeup);
  instance = undefined;
}

function enterThread(current: Instance): void {
  if (inThread) return;
  inThread = true;
  current.wait.async(
    current.epoll,
    addressOf(bytesOf(current.events)),
    MOST_EVENTS,
    FOREVER,
    (error: unknown, count: number) => {
      inThread = false;
      if (error) throw error;
      // With arguments that are right it fails only when a signal interrupts it: then there are no events, and that's all.
      for (let i = 0; i < count; i++) deliver(current, i * EVENT.size);
      if (isAnyoneWaiting()) enterThread(current);
      closeIfUnused();
    },
  );
}

/** Ends epoll_wait(2) by an event of ours. */
function leaveThread(): void {
  if (instance) syscall('write', instance.wakeup, new Uint8Array(new BigUint64Array([1n]).buffer), 8);
}

function deliver({ events, wakeup }: Instance, offset: number): void {
  const happened = events.getUint32(offset, true);
  const fd = events.getUint32(offset + EVENT.data, true);
  if (fd === wakeup) {
    perform(allowing(call('read', wakeup, { out: new Uint8Array(8) }, 8), 'EAGAIN'));
    return;
  }
  const waiters = descriptors.get(fd);
  if (!waiters) return; // Its waiting was stopped when the event was on its way.
  const failed = (happened & (EPOLL.ERR | EPOLL.HUP)) !== 0;
  if (failed || happened & EPOLL.IN) release(waiters, 'readable');
  if (failed || happened & EPOLL.OUT) release(waiters, 'writable');
  // One shot disarms both directions: whoever still waits needs another.
  if (waiters.readable.length || waiters.writable.length) watch(EPOLL_CTL.MOD, fd, waiters);
}

function release(waiters: Waiters, ...directions: Direction[]): void {
  for (const direction of directions) {
    for (const resolve of waiters[direction].splice(0)) resolve();
  }
}

function watch(operation: number, fd: number, waiters: Waiters): void {
  const readable = waiters.readable.length ? MASK.readable : 0;
  const writable = waiters.writable.length ? MASK.writable : 0;
  syscall('epoll_ctl', instance!.epoll, operation, fd, epollEvent(readable | writable | EPOLL.ONESHOT, fd));
}

function isAnyoneWaiting(): boolean {
  for (const { readable, writable } of descriptors.values()) {
    if (readable.length || writable.length) return true;
  }
  return false;
}

function epollEvent(events: number, fd: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(EVENT.size));
  view.setUint32(0, events, true);
  view.setUint32(EVENT.data, fd, true);
  return bytesOf(view);
}

const bytesOf = (view: DataView): Uint8Array => new Uint8Array(view.buffer);
