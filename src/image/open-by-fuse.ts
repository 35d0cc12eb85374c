/**
 * Disk images in use by an ordinary user. Only root may mount file systems of disks. But a user namespace may have
 * mounts of FUSE, for which a program of the host's answers: one for each file system of the image. An agent makes the
 * namespaces in which they are mounted. Containers are in a user namespace below that one, as nobody else may look at such
 * a file system: fuse_allow_current_process() in fs/fuse/dir.c.
 */
import { setTimeout } from 'node:timers/promises';
import type { Agent } from '../../syscalls/agent/agent.ts';
import { allowing, call, resultOf } from '../../syscalls/call.ts';
import { AT, CLONE, MNT_DETACH, MOUNT_ATTR, O, SIG } from '../../syscalls/constants.ts';
import { readableWithin } from '../../syscalls/fd.ts';
import { fileStatus, statusOf, statusOfPath } from '../../syscalls/file.ts';
import { attachMount, cloneTree, detachMount, newMount, setMountAttributes } from '../../syscalls/mount.ts';
import { dieWithParent, endingOf, leaveSession, setName, signalProcess } from '../../syscalls/process.ts';
import { attempt } from '../execute/attempt.ts';
import type { HostProgram } from '../host-program.ts';
import type { FileSystem, Plan } from '../plan/steps.ts';
import { startMounting } from '../users/start-without-root.ts';
import { startFuseProgram } from './fuse-programs.ts';
import type { ImageFile } from './image-file.ts';
import type { OpenImage } from './open.ts';
import { isFileSystem, openLocked } from './open-locked.ts';

/** Where the agent has its mounts at first: every host has this directory, and no FUSE program needs what is in it. */
const PLACE = '/sys';
/** The image's name in there. Its own path may have characters in it that mean something to the programs. */
const SOURCE = 'image';

/** A file system of the image. */
interface Shown {
  wanted: FileSystem;
  /** Where it is mounted, in the agent's working directory. */
  name: string;
  program: HostProgram;
}

/**
 * Opens the image of a plan, and locks it until the last of the programs has ended. Rejects with an Error that says what
 * failed; nothing is left then.
 */
export async function openImage(plan: Plan): Promise<OpenImage> {
  await using undo = new AsyncDisposableStack();
  const file = undo.use(await openLocked(plan));
  const agent = undo.use(startMounting(plan.users!.maps!));
  const fileSystems = Object.values(plan.hostObjects).filter(isFileSystem);
  attempt(`opening the image ${plan.directory} in a user namespace`, () =>
    preparePlaces(agent, plan.directory, file, fileSystems),
  );
  const shown: Shown[] = [];
  undo.defer(async () => void (await stop(shown)));
  using starting = new DisposableStack();
  for (const [i, wanted] of fileSystems.entries()) {
    const paths = { source: `${PLACE}/${SOURCE}`, target: `${PLACE}/${i}` };
    const start = () => startFuseProgram(wanted, paths, { keeper: agent, image: file.fd, starting });
    shown.push({ wanted, name: `${i}`, program: attempt(`starting ${wanted.through!.path}`, start) });
  }
  for (const each of shown) await whenMounted(each, agent, plan.directory);
  attempt(`keeping the image ${plan.directory} open`, () => takeMounts(shown, agent));
  undo.move();

  const dispose = () => {
    agent[Symbol.dispose]();
    file[Symbol.dispose]();
  };
  return {
    namespaceOf: agent.pidfd,
    mount({ offset, attributes }) {
      const { name } = shown.find(({ wanted }) => wanted.offset === offset)!;
      const copy = cloneTree(AT.FDCWD, name, { recursive: false });
      // The programs have ideas of their own about these.
      const clear = MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV;
      const [fd] = agent.run([copy, setMountAttributes(copy, { clear, set: attributes })]);
      const taken = agent.takeFd(fd!);
      agent.run([call('close', fd!)]);
      return taken;
    },
    async released(log) {
      // With its mounts no program would end.
      dispose();
      for (const complaint of await whenReleased(shown)) log.warn(complaint);
    },
    [Symbol.dispose]: dispose,
  };
}

/** Has the agent make a directory for each file system, and beside them the image. Throws SyscallError, or an Error. */
function preparePlaces(agent: Agent, path: string, { fd }: ImageFile, fileSystems: readonly FileSystem[]): void {
  const open = call('openat', AT.FDCWD, path, O.PATH | O.CLOEXEC, 0);
  const { call: look, status } = statusOf(open);
  const [image] = agent.run([open, look, dieWithParent, leaveSession, setName('nspawn-image')]);
  const [locked, found] = [fileStatus(fd), status()];
  const isSame = (['inode', 'deviceMajor', 'deviceMinor'] as const).every(key => locked[key] === found[key]);
  if (!isSame) throw new Error('it was replaced by another file just now');

  const isUnchanged = fileSystems.every(({ readOnly }) => readOnly);
  const mounting = newMount('tmpfs', [{ key: 'mode', value: '0755' }], 0);
  const made = mounting.at(-1)!;
  const place = call('openat', AT.FDCWD, PLACE, O.PATH | O.DIRECTORY | O.CLOEXEC, 0);
  const source = call('openat', AT.FDCWD, SOURCE, O.WRONLY | O.CREAT | O.CLOEXEC, 0o600);
  const copy = cloneTree(image!, '', { recursive: false });
  agent.run([
    // A program that opens it to write, although it was told not to, shall fail.
    copy,
    ...(isUnchanged ? [setMountAttributes(copy, { set: MOUNT_ATTR.RDONLY })] : []),
    ...mounting,
    place,
    attachMount(made, place),
    call('fchdir', resultOf(made)),
    source,
    attachMount(copy, source),
    ...fileSystems.map((_, i) => call('mkdirat', AT.FDCWD, `${i}`, 0o700)),
    ...[mounting[0], made, place, source, copy].map(each => call('close', resultOf(each))),
    call('close', image!),
  ]);
}

/**
 * Has the agent alone keep the mounts, until the container has copies: a program that had them, too, would never end. And
 * what the agent and the programs have of the host's file system goes, as nobody needs any of it any more: the host's
 * mounts aren't kept in use, and a program that an image has taken over finds nothing. Throws SyscallError.
 */
function takeMounts(shown: readonly Shown[], agent: Agent): void {
  const copies = shown.map(({ name }) => cloneTree(AT.FDCWD, name, { recursive: false }));
  const places = shown.map(({ name }) => call('openat', AT.FDCWD, name, O.PATH | O.DIRECTORY | O.CLOEXEC, 0));
  agent.run([
    ...copies,
    ...shown.map(({ name }) => detachMount(name)),
    call('pivot_root', '.', '.'),
    // The old root now lies on top of the new one: pivot_root(2).
    call('umount2', '.', MNT_DETACH),
    call('chdir', '/'),
    call('unshare', CLONE.NEWNS),
    ...places,
    ...copies.map((copy, i) => attachMount(copy, places[i]!)),
    ...[...copies, ...places].map(each => call('close', resultOf(each))),
  ]);
}

const LONGEST_START_MS = 30_000;
const LONGEST_PAUSE_MS = 50;

/** Resolves when the file system can be used; rejects with an Error when it can't, with what the program has said. */
async function whenMounted({ wanted, name, program }: Shown, agent: Agent, image: string): Promise<void> {
  const end = performance.now() + LONGEST_START_MS;
  for (let pause = 1; !isMounted(name, agent); pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
    const failed = hasEnded(program) ? said(program) || 'it has ended without a word' : '';
    const late = performance.now() > end && `nothing was mounted after ${LONGEST_START_MS / 1000} s`;
    const why = failed || late;
    if (why) {
      const text = why.replaceAll(`${PLACE}/${SOURCE}`, image);
      throw new Error(`mounting ${wanted.name} by ${wanted.through!.name}: ${text}`);
    }
    await setTimeout(pause);
  }
}

/** The kernel answers for the root of a mount only when the program has agreed with it on a protocol. */
function isMounted(name: string, agent: Agent): boolean {
  const { call: look, status } = statusOfPath(name);
  // Those errors: it is gone again.
  const [result] = agent.run([allowing(look, 'ENOTCONN', 'ECONNABORTED')]);
  return result === 0 && status().isMountPoint;
}

const hasEnded = ({ pidfd }: HostProgram): boolean => readableWithin(pidfd, 0);
const said = (program: HostProgram): string => program.said().join(' ');

/** How long others may use what the container had, and a program may then take to write what is left. */
const LONGEST_USE_MS = 10_000;
const LONGEST_END_MS = 60_000;

/** Waits until the programs have written all and ended, by themselves. Resolves to what there is to complain of. */
async function whenReleased(shown: readonly Shown[]): Promise<string[]> {
  const complaints: string[] = [];
  const end = performance.now() + LONGEST_USE_MS;
  for (const { wanted, program } of shown) {
    if (await endsBy(end, program)) continue;
    complaints.push(`${wanted.name} is still in use: something outside of the container holds it`);
  }
  return [...complaints, ...(await stop(shown))];
}

/** Has programs write all and end. Resolves as whenReleased(). */
async function stop(shown: readonly Shown[]): Promise<string[]> {
  const complaints: string[] = [];
  for (const { wanted, program } of shown) {
    if (!hasEnded(program)) signalProcess(program.pidfd, SIG.TERM);
    await endsBy(performance.now() + LONGEST_END_MS, program);
    const ending = endingOf(program.pidfd);
    if (!ending || !('exited' in ending) || ending.exited !== 0) {
      const how = ending && 'exited' in ending ? `exit status ${ending.exited}` : 'it was killed';
      complaints.push(`${wanted.through!.name} has failed for ${wanted.name}, ${how}: ${said(program)}`);
    }
    program[Symbol.dispose]();
  }
  return complaints;
}

async function endsBy(end: number, program: HostProgram): Promise<boolean> {
  for (let pause = 1; !hasEnded(program); pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
    if (performance.now() > end) return false;
    await setTimeout(pause);
  }
  return true;
}
