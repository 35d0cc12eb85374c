/** Steps that look at what they find before they know what to do. They read through the agent or from outside. */
import type { Agent } from '../../syscalls/agent/agent.ts';
import { allowing, type Call, call, resultOf } from '../../syscalls/call.ts';
import { AT, MOUNT_ATTR, O, OPEN_TREE, S } from '../../syscalls/constants.ts';
import {
  deviceNumber,
  type FileStatus,
  fileType,
  makeDirectories,
  makeInDirectory,
  openInRoot,
  splitPath,
  statusOf,
  typeName,
} from '../../syscalls/file.ts';
import { attachMount, detachMount, newMount, setMountAttributes } from '../../syscalls/mount.ts';
import { readHostFile, readIfThere } from '../host.ts';
import { describeObject, type Plan, type StepAction } from '../plan/steps.ts';
import type { TreeView } from '../root-view.ts';
import type { IdmapSource } from '../users/idmap.ts';
import { containerTree } from './container-tree.ts';
import type { ImageAction } from './image-steps.ts';
import { writeNewFile } from './new-file.ts';
import type { Setup } from './setup.ts';
import type { StaticAction } from './static-steps.ts';

const HERE = AT.FDCWD;
export type DynamicAction = Exclude<StepAction, StaticAction | ImageAction>;

export const DYNAMIC_STEPS: {
  [K in DynamicAction['do']]: (action: Extract<DynamicAction, { do: K }>, setup: Setup) => void;
} = {
  'reset loginuid': (_, { agent }) => resetLoginuid(agent),

  'hand over'({ objects }, setup) {
    const { agent: outside, inside, fds } = setup;
    for (const key of objects) if (fds.has(key)) fds.set(key, handOver(fds.get(key)!, outside, inside!));
    setup.agent = inside!;
    setup.idOf = id => id;
  },

  'move interface': (action, { network }) => network!(action),
  'make veth link': (action, { network }) => network!(action),
  'make macvlan': (action, { network }) => network!(action),
  'make ipvlan': (action, { network }) => network!(action),

  bind({ object, path, idmap }, { plan, agent, idOf, fds, idmapBind }) {
    const source = fds.get(object);
    if (source === undefined) throw new Error('the host has no such file or directory');
    const [wanted, found] = statusInContainer(agent, [{ fd: source }, { path }]);
    const { mode } = wanted!;
    if (!found) agent.run(makeMountPoint(missingPath(path, { agent, plan }), mode));
    else if (fileType(found.mode) !== fileType(mode)) {
      throw new Error(`it is ${typeName(mode)}, but ${path} is ${typeName(found.mode)}`);
    }
    const covered = found && found.uid - idOf(0);
    if (idmap) idmapBind!({ agent, mount: source, source: describeSource(plan, object) }, idmap, covered);
    const target = openInRoot(HERE, path, O.PATH);
    agent.run([target, attachMount(source, target), call('close', resultOf(target)), call('close', source)]);
  },

  hide({ paths }, { agent }) {
    const found = statusInContainer(
      agent,
      paths.map(path => ({ path })),
    );
    const missing = paths.find((_, i) => !found[i]);
    if (missing !== undefined) throw new Error(`there is no ${missing} in the container`);
    agent.run(mountNothing(paths.map((path, i) => ({ path, type: fileType(found[i]!.mode) }))));
  },

  'copy file': ({ from, path, replace }, setup) => writeFile(path, readHostFile(from), replace, setup),
  'write file': ({ path, content }, setup) => writeFile(path, Buffer.from(content), false, setup),

  'write user records': (_, { agent, writeUserRecords }) => writeUserRecords!(agent),

  'link time zone'({ zone }, { agent, plan }) {
    if (zone === undefined) throw new Error("the host's /etc/localtime is no symlink to a time zone");
    using container = containerTree({ agent, plan });
    const path = '/etc/localtime';
    const current = container.readLink(path);
    if (current === `../usr/share/zoneinfo/${zone}` || current === `/usr/share/zoneinfo/${zone}`) return;
    if (!container.status(`/usr/share/zoneinfo/${zone}`))
      throw new Error(`the container does not know the time zone ${zone}`);
    agent.run([
      ...makeDirectories(HERE, '/etc', 0o755),
      ...makeInDirectory(HERE, '/etc', at => [
        allowing(call('unlinkat', at, 'localtime', 0), 'ENOENT'),
        call('symlinkat', `../usr/share/zoneinfo/${zone}`, at, 'localtime'),
      ]),
    ]);
  },

  'link journal': (action, setup) => setup.linkJournal!(action, setup),
  register: (_, { register }) => register(),

  'bring loopback up': (_, { agent, bringLoopbackUp }) => bringLoopbackUp?.(agent),
  'connect network': (_, { agent, connectUserNetwork, keep, log }) => connectUserNetwork!(agent.pid, keep, log),
};

/** Writes a file of the tree; a symlink only if it is to be replaced. */
function writeFile(path: string, content: Buffer, replace: boolean, { agent, plan, log }: Setup): void {
  using container = containerTree({ agent, plan });
  const { parent, name } = splitPath(path);
  const isLink = container.readLink(path) !== undefined;
  if (isLink && !replace) {
    log.debug(`leaving ${path} as it is: it is a symlink`);
    return;
  }
  // To write what is there already would take longer than all mounts together, and wear the disk.
  if (!isLink && holds(container, path, content)) return;
  agent.run([
    ...makeDirectories(HERE, parent, 0o755),
    ...makeInDirectory(HERE, parent, at => [
      allowing(call('unlinkat', at, name, 0), 'ENOENT'),
      ...writeNewFile(at, name, content, 0o644),
    ]),
  ]);
}

/** Gives one agent a descriptor of another; returns its number. */
function handOver(fd: number, from: Agent, to: Agent): number {
  using copy = from.takeFd(fd);
  return to.sendFds([copy.fd])[0]!;
}

/** Lets an agent look as if nobody had logged in. Throws SyscallError. */
export function resetLoginuid(agent: Agent): void {
  // Inherited by the agent; -1 is what a process has before anyone logged in. No audit, no file.
  const current = readIfThere('/proc/self/loginuid');
  if (current === undefined || current.toString() === UNSET_LOGINUID) return;
  const open = call('openat', AT.FDCWD, '/proc/self/loginuid', O.WRONLY | O.CLOEXEC, 0);
  agent.run([open, writeText(open, UNSET_LOGINUID), call('close', resultOf(open))]);
}

/** What a bind is of, to tell why it can't be shown with other owners. A path of the container's is none of the host's. */
function describeSource({ hostObjects }: Plan, key: string): IdmapSource {
  const object = hostObjects[key];
  return object?.kind === 'tree' && !object.inRoot
    ? { path: object.path }
    : { type: `of ${describeObject(object, key)}` };
}

/** Whether a regular file of the container has just this content. */
function holds(container: TreeView, path: string, content: Buffer): boolean {
  const found = container.status(path);
  if (!found || fileType(found.mode) !== S.IFREG || found.size !== content.length) return false;
  return container.readText(path) === content.toString();
}

const UNSET_LOGINUID = '4294967295';
const writeText = (open: Call, text: string): Call =>
  call('write', resultOf(open), Buffer.from(text), Buffer.byteLength(text));

/** Status of descriptors of the agent, and of what paths of the container lead to: undefined when there is nothing. */
export function statusInContainer(
  agent: Setup['agent'],
  what: ({ fd: number } | { path: string })[],
): (FileStatus | undefined)[] {
  const looks = what.map(each => {
    if ('fd' in each) return { calls: [], ...statusOf(each.fd) };
    const open = allowing(openInRoot(HERE, each.path, O.PATH), 'ENOENT');
    return { calls: [open], ...statusOf(open) };
  });
  // What leads nowhere has no descriptor to ask for: -ENOENT is none.
  const calls = looks.flatMap(({ calls: open, call: look }) => [...open, allowing(look, 'EBADF')]);
  const results = agent.run(calls);
  let at = 0;
  return looks.map(({ calls: open, status }) => {
    at += open.length + 1;
    return results[at - 1]! < 0 ? undefined : status();
  });
}

/** The path that is missing where `path` leads to nothing: its own, or at the end of symlinks another. */
function missingPath(path: string, of: Pick<Setup, 'agent' | 'plan'>): string {
  using container = containerTree(of);
  let missing = path;
  for (let follows = 0; follows < MOST_SYMLINKS; follows++) {
    const target = container.readLink(missing);
    if (target === undefined) break;
    missing = target.startsWith('/') ? target : `${splitPath(missing).parent}/${target}`;
  }
  return missing;
}
/** As many as the kernel follows: path_resolution(7). */
const MOST_SYMLINKS = 40;

/** Makes what a bind of this type can be mounted on. Devices are refused. */
function makeMountPoint(path: string, mode: number): Call[] {
  const { parent, name } = splitPath(path);
  const type = fileType(mode);
  if (type === S.IFDIR) return makeDirectories(HERE, path, 0o755);
  if (type !== S.IFREG && type !== S.IFIFO && type !== S.IFSOCK) {
    throw new Error(`the container has no ${path}, and no mount point is made for ${typeName(mode)}`);
  }
  return [
    ...makeDirectories(HERE, parent, 0o755),
    ...makeInDirectory(HERE, parent, at => [allowing(call('mknodat', at, name, type | 0o644, 0), 'EEXIST')]),
  ];
}

/** Every container has it, from the very beginning. */
const PLACE = '/dev';

/** Mounts empty things of the same types, without any permission, over paths. */
function mountNothing(hidden: readonly { path: string; type: number }[]): Call[] {
  const attributes = MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV | MOUNT_ATTR.NOEXEC;
  const mount = newMount('tmpfs', [{ key: 'mode', value: '0' }], attributes);
  const made = mount.at(-1)!;
  const make = (type: number) =>
    type === S.IFDIR
      ? call('mkdirat', resultOf(made), `${type}`, 0)
      : call('mknodat', resultOf(made), `${type}`, type, deviceNumber(0, 0));
  // Before Linux 6.15 only what is attached somewhere can be copied: for a moment it is over /dev, where nobody looks.
  const place = openInRoot(HERE, PLACE, O.PATH | O.DIRECTORY);
  const covers = hidden.map(({ path, type }) => ({
    copy: call('open_tree', resultOf(made), `${type}`, OPEN_TREE.CLONE | OPEN_TREE.CLOEXEC),
    target: openInRoot(HERE, path, O.PATH),
  }));
  return [
    ...mount,
    ...[...new Set(hidden.map(({ type }) => type))].map(make),
    place,
    attachMount(made, place),
    ...covers.flatMap(({ copy }) => [copy, setMountAttributes(copy, { set: MOUNT_ATTR.RDONLY })]),
    detachMount(PLACE),
    ...[mount[0], made, place].map(open => call('close', resultOf(open))),
    ...covers.flatMap(({ copy, target }) => [
      target,
      attachMount(copy, target),
      call('close', resultOf(target)),
      call('close', resultOf(copy)),
    ]),
  ];
}
