/** Starts a program and waits for its end with as little around it as can be: the same few microseconds for all. */
import process from 'node:process';
import { loadKoffi } from '../syscalls/koffi.ts';

/** O_RDWR, include/uapi/asm-generic/fcntl.h */
const O_RDWR = 2;

/** Bytes for a posix_spawn_file_actions_t; it takes 80 with glibc and with musl. */
const FILE_ACTIONS_SIZE = 256;

/**
 * Returns a function that runs a command, its standard streams at /dev/null, and returns the nanoseconds from before
 * posix_spawn(3) until after waitpid(2). It throws if the command can't be started or fails.
 */
export function spawner(): (command: readonly string[]) => number {
  const libc = loadKoffi().load(null);
  const spawn = libc.func(
    'int posix_spawnp(_Out_ int *pid, const char *file, void *actions, void *attributes, const char **argv, const char **envp)',
  );
  const waitpid = libc.func('int waitpid(int pid, _Out_ int *status, int options)');
  const addOpen = libc.func(
    'int posix_spawn_file_actions_addopen(void *actions, int fd, const char *path, int flags, unsigned int mode)',
  );
  const actions = new Uint8Array(FILE_ACTIONS_SIZE);
  libc.func('int posix_spawn_file_actions_init(void *actions)')(actions);
  for (const fd of [0, 1, 2]) addOpen(actions, fd, '/dev/null', O_RDWR, 0);
  const environment = [`PATH=${process.env['PATH']}`, null];

  return command => {
    const [pid, status] = [[0], [0]];
    const argv = [...command, null];
    const start = process.hrtime.bigint();
    const error = spawn(pid, command[0], actions, null, argv, environment);
    if (error) throw new Error(`Starting ${command[0]}: error ${error}`);
    waitpid(pid[0], status, 0);
    const end = process.hrtime.bigint();
    if (status[0] !== 0) throw new Error(`${command.join(' ')}: wait status ${status[0]}`);
    return Number(end - start);
  };
}
