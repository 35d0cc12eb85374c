/** Files that a container gets when it starts. They are made once the payload's user is known, whose they are. */
import type { Agent } from '../../syscalls/agent/agent.ts';
import { allowing, type Call, call, resultOf } from '../../syscalls/call.ts';
import { AT, O } from '../../syscalls/constants.ts';
import { makeInDirectory, splitPath } from '../../syscalls/file.ts';
import { syscall } from '../../syscalls/syscall.ts';
import { attempt } from '../execute/attempt.ts';
import type { User } from '../execute/user.ts';
import type { NewFile } from '../options.ts';

type WithContent = NewFile & Required<Pick<NewFile, 'content'>>;

/** So many files are open at a time. */
const MOST_OPEN = 100;
const HERE = AT.FDCWD;

/** Makes files that belong to a user of the container, in place of those that are there. Throws an Error. */
export function makeFiles(agent: Agent, files: readonly NewFile[], user: User): void {
  const directories = files.filter(({ content }) => content === undefined);
  const others = files.filter((file): file is WithContent => file.content !== undefined);
  makeMissing(
    agent,
    [...new Set([...files.flatMap(({ path }) => above(path)), ...directories.map(({ path }) => path)])],
    user,
  );
  const giving = directories.flatMap(({ path, mode = 0o755 }) => give(path, user, mode));
  if (giving.length > 0) attempt(`giving ${names(directories)} to the payload's user`, () => agent.run(giving));
  for (let first = 0; first < others.length; first += MOST_OPEN) {
    writeFiles(agent, others.slice(first, first + MOST_OPEN), user);
  }
}

const names = (files: readonly NewFile[]) => files.map(({ path }) => path).join(', ');

/** `/a` and `/a/b` of `/a/b/c`. */
function above(path: string): string[] {
  const parts = path.split('/').filter(Boolean).slice(0, -1);
  return parts.map((_, i) => `/${parts.slice(0, i + 1).join('/')}`);
}

/** Makes directories that aren't there, each after the one above it. Those that are keep their owners. */
function makeMissing(agent: Agent, paths: readonly string[], user: User): void {
  const making = paths.map(path => {
    const { parent, name } = splitPath(path);
    const calls = makeInDirectory(HERE, parent, at => [allowing(call('mkdirat', at, name, 0o755), 'EEXIST')]);
    return { path, calls };
  });
  const calls = making.flatMap(each => each.calls);
  if (calls.length === 0) return;
  const results = attempt(`making ${paths.join(', ')}`, () => agent.run(calls));
  const made = making.filter(each => results[calls.indexOf(called('mkdirat', each.calls))] === 0);
  const giving = made.flatMap(({ path }) => give(path, user, 0o755));
  if (giving.length > 0) attempt(`giving ${paths.join(', ')} to the payload's user`, () => agent.run(giving));
}

/** The calls that make a directory somebody's. */
function give(path: string, { uid, gid }: User, mode: number): Call[] {
  const { parent, name } = splitPath(path);
  return makeInDirectory(HERE, parent, at => {
    // Never at the end of a symlink: not every call that changes permissions can be told so.
    const open = call('openat', at, name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW | O.CLOEXEC, 0);
    return [
      open,
      call('fchown', resultOf(open), uid, gid),
      call('fchmod', resultOf(open), mode),
      call('close', resultOf(open)),
    ];
  });
}

const called = (name: string, calls: readonly Call[]): Call => calls.find(each => each.name === name)!;

function writeFiles(agent: Agent, files: readonly WithContent[], { uid, gid }: User): void {
  const making = files.map(({ path, mode = 0o644 }) => {
    const { parent, name } = splitPath(path);
    const flags = O.WRONLY | O.CREAT | O.EXCL | O.NOFOLLOW | O.CLOEXEC;
    let open: Call | undefined;
    const calls = makeInDirectory(HERE, parent, at => {
      open = call('openat', at, name, flags, 0o600);
      return [
        allowing(call('unlinkat', at, name, 0), 'ENOENT'),
        open,
        call('fchown', resultOf(open), uid, gid),
        call('fchmod', resultOf(open), mode),
      ];
    });
    return { calls, open: open! };
  });
  const calls = making.flatMap(each => each.calls);
  const results = attempt(`making ${names(files)}`, () => agent.run(calls));
  const opened = making.map(({ open }) => results[calls.indexOf(open)]!);
  for (const [i, { path, content }] of files.entries()) {
    attempt(`writing ${path}`, () => {
      // Written from here: what is in memory that is shared with agents would be there for the next one, too.
      using copy = agent.takeFd(opened[i]!);
      writeAll(copy.fd, Buffer.from(content));
    });
  }
  agent.run(opened.map(fd => call('close', fd)));
}

/** Writes to a file. Throws SyscallError. */
export function writeAll(fd: number, content: Uint8Array): void {
  for (let at = 0; at < content.length; ) {
    const rest = content.subarray(at);
    // As a struct, of which a trace shows the size only.
    at += syscall('write', fd, { bytes: rest, pointers: [] }, rest.length);
  }
}
