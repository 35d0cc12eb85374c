/**
 * The filter that systemd-nspawn has by default since version 236, as of version 252: a list of allowed calls, some of
 * them only for containers with a capability. Calls that are newer than the list seem to be missing in the kernel, so
 * that programs do without.
 */
import type { Architecture } from './arch.ts';
import { expandGroups } from './groups.ts';
import { NO_AUDIT } from './nspawn-filter.ts';
import type { Filter, Rule } from './rules.ts';

/** <asm-generic/errno-base.h>, <asm-generic/errno.h> */
const EPERM = 1;
const ENOSYS = 38;

/** What every container may call. */
const ALLOWED = [
  ...['@aio', '@basic-io', '@chown', '@default', '@file-system', '@io-event', '@ipc', '@mount', '@network-io'],
  ...['@process', '@resources', '@setuid', '@signal', '@sync', '@timer'],
  ...['brk', 'capget', 'capset', 'copy_file_range', 'fadvise64', 'fadvise64_64', 'flock', 'get_mempolicy', 'getcpu'],
  ...['getpriority', 'getrandom', 'ioctl', 'ioprio_get', 'kcmp', 'madvise', 'mincore', 'mprotect', 'mremap'],
  ...['name_to_handle_at', 'oldolduname', 'olduname', 'personality', 'readahead', 'readdir', 'remap_file_pages'],
  ...['sched_get_priority_max', 'sched_get_priority_min', 'sched_getaffinity', 'sched_getattr', 'sched_getparam'],
  ...['sched_getscheduler', 'sched_rr_get_interval', 'sched_rr_get_interval_time64', 'sched_yield', 'seccomp'],
  ...['sendfile', 'sendfile64', 'setdomainname', 'setfsgid', 'setfsgid32', 'setfsuid', 'setfsuid32', 'sethostname'],
  ...['setpgid', 'setsid', 'splice', 'sysinfo', 'tee', 'umask', 'uname', 'userfaultfd', 'vmsplice'],
];

/** <linux/capability.h> */
const CAP = {
  IPC_LOCK: 14,
  SYS_MODULE: 16,
  SYS_RAWIO: 17,
  SYS_PTRACE: 19,
  SYS_PACCT: 20,
  SYS_BOOT: 22,
  SYS_TIME: 25,
  SYS_TTY_CONFIG: 26,
  SYSLOG: 34,
} as const;

/** What takes a capability. */
const ALLOWED_WITH: readonly [capability: number, calls: readonly string[]][] = [
  [CAP.IPC_LOCK, ['@memlock']],
  [CAP.SYS_MODULE, ['@module']],
  [CAP.SYS_RAWIO, ['@raw-io']],
  [CAP.SYS_PTRACE, ['process_vm_readv', 'process_vm_writev', 'ptrace']],
  [CAP.SYS_PACCT, ['acct']],
  [CAP.SYS_BOOT, ['reboot']],
  [CAP.SYS_TIME, ['@clock']],
  [CAP.SYS_TTY_CONFIG, ['vhangup']],
  [CAP.SYSLOG, ['syslog']],
];

/** What is added to the allowed calls and taken away from them: names of calls and groups. */
export interface Lists {
  allow?: readonly string[];
  /** Wins over all that is allowed. */
  deny?: readonly string[];
}

/** The filter for a container with these capabilities, a set with bit N for capability N. */
export function allowFilter(
  architectures: readonly Architecture[],
  capabilities: bigint,
  { allow = [], deny = [] }: Lists,
): Filter {
  const withCapability = ALLOWED_WITH.flatMap(([capability, calls]) =>
    (capabilities >> BigInt(capability)) & 1n ? calls : [],
  );
  const denied = expandGroups(deny);
  const allowed = [...expandGroups([...ALLOWED, ...withCapability, ...allow])].filter(call => !denied.has(call));
  const known = expandGroups(['@known']);
  return {
    architectures,
    defaultAction: { errno: ENOSYS },
    unknownArchitecture: 'kill-process',
    rules: [
      NO_AUDIT,
      ...allowed.map((syscall): Rule => ({ syscall, action: 'allow' })),
      ...[...known, ...denied].map((syscall): Rule => ({ syscall, action: { errno: EPERM } })),
    ],
  };
}
