/** Programs that show a file system of a disk image by FUSE: fuse2fs(1), squashfuse(1), erofsfuse(1). */
import type { Agent } from '../../syscalls/agent/agent.ts';
import { entrust } from '../../syscalls/agent/janitor.ts';
import { call } from '../../syscalls/call.ts';
import { CLONE, PR, SIG } from '../../syscalls/constants.ts';
import { duplicate } from '../../syscalls/fd.ts';
import { joinNamespaces, setGid, setUid } from '../../syscalls/process.ts';
import { type HostProgram, startProgram } from '../host-program.ts';
import type { FileSystem, FuseProgram } from '../plan/steps.ts';

/** What all are told: the container's users may use it, and the kernel checks what they may. */
const OPTIONS = ['allow_other', 'default_permissions'];

/**
 * In the foreground, and with one thread: to end others, the C library would load a library when nothing of the host is to
 * be found any more.
 */
const WORDS = ['-f', '-s'];

/** How each is told to start at an offset in bytes, and what else it needs to know. They agree on all the rest. */
const OWN: Readonly<Record<FuseProgram, (fileSystem: FileSystem) => { options: string[]; words: string[] }>> = {
  // With 'fakeroot' it leaves permissions to the kernel.
  fuse2fs: ({ offset, readOnly }) => ({
    options: ['fakeroot', ...(readOnly ? ['norecovery'] : []), ...at(offset)],
    words: [],
  }),
  squashfuse: ({ offset }) => ({ options: at(offset), words: [] }),
  erofsfuse: ({ offset }) => ({ options: [], words: offset === 0 ? [] : [`--offset=${offset}`] }),
};
const at = (offset: number): string[] => (offset === 0 ? [] : [`offset=${offset}`]);

interface Paths {
  source: string;
  target: string;
}

/**
 * Has the file system's program mount it, in the namespaces of the agent `keeper`, where the paths are. It ends when that
 * is mounted nowhere any more, and has the descriptor `image` open as long. If this process dies before that is in sight,
 * `starting` owns what ends it. Throws SyscallError.
 */
export function startFuseProgram(
  fileSystem: FileSystem,
  { source, target }: Paths,
  { keeper, image, starting }: { keeper: Agent; image: number; starting: DisposableStack },
): HostProgram {
  const { name, path } = fileSystem.through!;
  const { options, words } = OWN[name](fileSystem);
  const all = [...OPTIONS, ...(fileSystem.readOnly ? ['ro'] : []), ...options];
  using namespaces = duplicate(keeper.pidfd);
  using file = duplicate(image);
  return startProgram({
    path,
    words: [...WORDS, ...words, '-o', all.join(','), source, target],
    fds: [namespaces.fd, file.fd],
    calls: [
      joinNamespaces(namespaces.fd, CLONE.NEWUSER | CLONE.NEWNS),
      call('close', namespaces.fd),
      // A program keeps the rights of root only if it is started by root.
      setGid(0),
      setUid(0),
      call('chdir', '/'),
      // When this process dies, there may be things to write yet.
      call('prctl', PR.SET_PDEATHSIG, 0, 0, 0, 0),
    ],
    // By the signal at which it unmounts what it has mounted and writes what is left.
    born: ({ pidfd }) =>
      starting.use(entrust([pidfd], ([own]) => [call('pidfd_send_signal', own!, SIG.TERM, null, 0)])),
  });
}
