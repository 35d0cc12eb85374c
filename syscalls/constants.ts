/** Constants of the kernel's interface, grouped by their prefix; each group names its header. */

import process from 'node:process';

const isArm64 = process.arch === 'arm64';

/** linux/fcntl.h, asm-generic/fcntl.h */
export const O = {
  RDONLY: 0,
  WRONLY: 0o1,
  RDWR: 0o2,
  CREAT: 0o100,
  EXCL: 0o200,
  NOCTTY: 0o400,
  TRUNC: 0o1000,
  APPEND: 0o2000,
  NONBLOCK: 0o4000,
  /** arm64 has its own values for these two: arch/arm64/include/uapi/asm/fcntl.h */
  DIRECTORY: isArm64 ? 0o40000 : 0o200000,
  NOFOLLOW: isArm64 ? 0o100000 : 0o400000,
  NOATIME: 0o1000000,
  CLOEXEC: 0o2000000,
  PATH: 0o10000000,
  TMPFILE: 0o20000000 | (isArm64 ? 0o40000 : 0o200000),
} as const;

/** linux/fcntl.h */
export const AT = {
  FDCWD: -100,
  SYMLINK_NOFOLLOW: 0x100,
  REMOVEDIR: 0x200,
  SYMLINK_FOLLOW: 0x400,
  EMPTY_PATH: 0x1000,
  RECURSIVE: 0x8000,
} as const;

/** unistd.h: access(2) */
export const W_OK = 2;

/** linux/openat2.h */
export const RESOLVE = { NO_XDEV: 1, NO_MAGICLINKS: 2, NO_SYMLINKS: 4, BENEATH: 8, IN_ROOT: 0x10 } as const;

/** linux/fs.h */
export const RENAME_NOREPLACE = 1;
export const FICLONE = 0x40049409;
export const SEEK = { SET: 0, DATA: 3, HOLE: 4 } as const;

/** linux/mount.h */
export const MS = {
  RDONLY: 1,
  NOSUID: 2,
  NODEV: 4,
  NOEXEC: 8,
  REMOUNT: 32,
  BIND: 4096,
  MOVE: 8192,
  REC: 16384,
  PRIVATE: 1 << 18,
  SLAVE: 1 << 19,
  SHARED: 1 << 20,
  STRICTATIME: 1 << 24,
} as const;

/** linux/mount.h */
export const MOUNT_ATTR = {
  RDONLY: 0x1,
  NOSUID: 0x2,
  NODEV: 0x4,
  NOEXEC: 0x8,
  NOATIME: 0x10,
  STRICTATIME: 0x20,
  _ATIME: 0x70,
  IDMAP: 0x100000,
  NOSYMFOLLOW: 0x200000,
} as const;

/** linux/mount.h */
export const OPEN_TREE = { CLONE: 1, CLOEXEC: O.CLOEXEC } as const;
export const MOVE_MOUNT = { F_EMPTY_PATH: 0x4, T_EMPTY_PATH: 0x40 } as const;
export const FSOPEN_CLOEXEC = 1;
export const FSMOUNT_CLOEXEC = 1;
export const FSCONFIG = { SET_FLAG: 0, SET_STRING: 1, SET_FD: 5, CMD_CREATE: 6, CMD_RECONFIGURE: 7 } as const;
export const MNT_DETACH = 2;
export const UMOUNT_NOFOLLOW = 8;

/** linux/sched.h */
export const CLONE = {
  VM: 0x100n,
  PIDFD: 0x1000n,
  VFORK: 0x4000n,
  PARENT: 0x8000n,
  NEWNS: 0x20000n,
  PARENT_SETTID: 0x100000n,
  NEWCGROUP: 0x2000000n,
  NEWUTS: 0x4000000n,
  NEWIPC: 0x8000000n,
  NEWUSER: 0x10000000n,
  NEWPID: 0x20000000n,
  NEWNET: 0x40000000n,
  CLEAR_SIGHAND: 0x100000000n,
  INTO_CGROUP: 0x200000000n,
} as const;

/** asm-generic/mman-common.h, linux/mman.h */
export const PROT = { READ: 1, WRITE: 2, EXEC: 4 } as const;
export const MAP = { SHARED: 1, PRIVATE: 2, ANONYMOUS: 0x20 } as const;

/** linux/memfd.h, linux/fcntl.h */
export const MFD = { CLOEXEC: 1, ALLOW_SEALING: 2, NOEXEC_SEAL: 8, EXEC: 0x10 } as const;
export const F = { SETFD: 2, GETFL: 3, SETFL: 4, OFD_SETLK: 37, ADD_SEALS: 1033 } as const;
/** asm-generic/fcntl.h */
export const F_WRLCK = 1;
export const F_SEAL = { SEAL: 1, SHRINK: 2, GROW: 4, WRITE: 8 } as const;

/** linux/prctl.h */
export const PR = {
  SET_PDEATHSIG: 1,
  SET_DUMPABLE: 4,
  SET_KEEPCAPS: 8,
  SET_NAME: 15,
  SET_SECCOMP: 22,
  CAPBSET_READ: 23,
  CAPBSET_DROP: 24,
  SET_NO_NEW_PRIVS: 38,
  CAP_AMBIENT: 47,
} as const;
export const PR_CAP_AMBIENT = { RAISE: 2, CLEAR_ALL: 4 } as const;

/** linux/seccomp.h */
export const SECCOMP_SET_MODE_FILTER = 1;

/** linux/socket.h */
export const AF = { UNIX: 1, NETLINK: 16 } as const;
export const SOCK = { STREAM: 1, DGRAM: 2, RAW: 3, SEQPACKET: 5, CLOEXEC: 0o2000000, NONBLOCK: 0o4000 } as const;
export const MSG = { DONTWAIT: 0x40, NOSIGNAL: 0x4000, CMSG_CLOEXEC: 0x40000000, TRUNC: 0x20, PEEK: 2 } as const;
export const SOL_SOCKET = 1;
export const SCM = { RIGHTS: 1, CREDENTIALS: 2 } as const;
/** asm-generic/socket.h */
export const SO_PASSCRED = 16;
export const NETLINK_ROUTE = 0;

/** linux/wait.h */
export const P = { ALL: 0, PID: 1, PIDFD: 3 } as const;
export const W = { NOHANG: 1, EXITED: 4, NOWAIT: 0x01000000 } as const;
/** asm-generic/siginfo.h */
export const CLD = { EXITED: 1, KILLED: 2, DUMPED: 3 } as const;

/** linux/stat.h */
export const S = {
  IFMT: 0o170000,
  IFSOCK: 0o140000,
  IFLNK: 0o120000,
  IFREG: 0o100000,
  IFBLK: 0o60000,
  IFDIR: 0o40000,
  IFCHR: 0o20000,
  IFIFO: 0o10000,
} as const;
export const STATX = { BASIC_STATS: 0x7ff } as const;

/** asm-generic/ioctls.h */
export const TIOC = {
  GPTN: 0x80045430,
  SPTLCK: 0x40045431,
  GPTPEER: 0x5441,
  SWINSZ: 0x5414,
  GWINSZ: 0x5413,
  SCTTY: 0x540e,
} as const;
export const TC = { GETS: 0x5401, SETS: 0x5402 } as const;

/** linux/personality.h */
export const PER = { LINUX: 0, LINUX32: 8 } as const;

/** asm-generic/signal.h; the numbers of x86-64 and arm64, which agree */
export const SIG = { HUP: 1, INT: 2, KILL: 9, PIPE: 13, TERM: 15, CHLD: 17, RTMIN: 34 } as const;
export const SIG_BLOCK = 0;
export const SIG_SETMASK = 2;

/** linux/close_range.h */
export const CLOSE_RANGE = { UNSHARE: 2, CLOEXEC: 4 } as const;
export const LAST_FD = 0xffffffff;

/** linux/loop.h */
export const LOOP = { CONFIGURE: 0x4c0a, CTL_GET_FREE: 0x4c82 } as const;

/** linux/fs.h */
export const BLK = { ROGET: 0x125e, SSZGET: 0x1268, GETSIZE64: 0x80081272 } as const;

/** sys/file.h */
export const LOCK = { SH: 1, EX: 2, NB: 4, UN: 8 } as const;
