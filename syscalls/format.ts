/** System calls as a person would write them, in strace's manner: for error lines and the trace. */
import type { Argument, Call } from './call.ts';
import * as k from './constants.ts';
import { errnoByNumber } from './errno.ts';

type Flags = Readonly<Record<string, number | bigint>>;
type Kind =
  | 'number'
  | 'hex'
  | 'octal'
  | 'fd'
  | { prefix: string; flags: Flags }
  | { prefix: string; oneOf: Flags }
  /** A struct of words of 64 bits. */
  | { words: Readonly<Record<string, Kind>> };

const flags = (prefix: string, table: Flags): Kind => ({ prefix, flags: table });
const oneOf = (prefix: string, table: Flags): Kind => ({ prefix, oneOf: table });

const N = 'number';

type Signatures = Readonly<Record<string, readonly Kind[]>>;
/** Made when there is something to say. */
let signatures: Signatures | undefined;

/** How the arguments of the calls in use are written; other calls and arguments show plain numbers. */
function makeSignatures(): Signatures {
  const atFlags = flags('AT_', { ...k.AT, FDCWD: 0 });
  const open = flags('O_', k.O);
  const mount = flags('MS_', k.MS);
  const socket = flags('SOCK_', { CLOEXEC: k.SOCK.CLOEXEC, NONBLOCK: k.SOCK.NONBLOCK, DGRAM: 2, STREAM: 1 });
  const mountAttr = flags('MOUNT_ATTR_', k.MOUNT_ATTR);
  const signal = oneOf('SIG', k.SIG);
  const ioctl = oneOf('', {
    ...prefixed('TIOC', k.TIOC),
    ...prefixed('TC', k.TC),
    ...prefixed('LOOP_', k.LOOP),
    ...prefixed('BLK', k.BLK),
  });
  return {
    openat: ['fd', N, open, 'octal'],
    openat2: ['fd', N, { words: { flags: open, mode: 'octal', resolve: flags('RESOLVE_', k.RESOLVE) } }, N],
    open_tree: [
      'fd',
      N,
      flags('', {
        OPEN_TREE_CLONE: 1,
        AT_RECURSIVE: k.AT.RECURSIVE,
        AT_EMPTY_PATH: k.AT.EMPTY_PATH,
        OPEN_TREE_CLOEXEC: k.O.CLOEXEC,
        AT_SYMLINK_NOFOLLOW: 0x100,
      }),
    ],
    move_mount: ['fd', N, 'fd', N, flags('MOVE_MOUNT_', k.MOVE_MOUNT)],
    mount_setattr: [
      'fd',
      N,
      atFlags,
      { words: { attr_set: mountAttr, attr_clr: mountAttr, propagation: mount, userns_fd: N } },
      N,
    ],
    fsopen: [N, flags('FSOPEN_', { CLOEXEC: 1 })],
    fsconfig: ['fd', oneOf('FSCONFIG_', k.FSCONFIG), N, N, N],
    fsmount: ['fd', flags('FSMOUNT_', { CLOEXEC: 1 }), mountAttr],
    mount: [N, N, N, mount, N],
    umount2: [N, flags('', { MNT_DETACH: k.MNT_DETACH, UMOUNT_NOFOLLOW: k.UMOUNT_NOFOLLOW })],
    mkdirat: ['fd', N, 'octal'],
    mknodat: ['fd', N, 'octal', 'hex'],
    symlinkat: [N, 'fd', N],
    unlinkat: ['fd', N, atFlags],
    readlinkat: ['fd', N, N, N],
    fchmodat: ['fd', N, 'octal'],
    fchownat: ['fd', N, N, N, atFlags],
    statx: ['fd', N, atFlags, 'hex', N],
    close_range: [N, 'hex', flags('CLOSE_RANGE_', k.CLOSE_RANGE)],
    prctl: [oneOf('PR_', k.PR), N, N, N, N],
    memfd_create: [N, flags('MFD_', k.MFD)],
    mmap: ['hex', N, flags('PROT_', k.PROT), flags('MAP_', k.MAP), N, N],
    socket: [oneOf('AF_', k.AF), socket, N],
    socketpair: [oneOf('AF_', k.AF), socket, N, N],
    execveat: ['fd', N, N, N, atFlags],
    clone3: [flags('CLONE_', k.CLONE)],
    fcntl: ['fd', oneOf('F_', k.F), N],
    waitid: [oneOf('P_', k.P), N, N, flags('W', k.W), N],
    ioctl: ['fd', ioctl, N],
    umask: ['octal'],
    personality: ['hex'],
    rt_sigaction: [signal, N, N, N],
    pidfd_send_signal: ['fd', signal, N, N],
  };
}

function prefixed(prefix: string, table: Flags): Flags {
  return Object.fromEntries(Object.entries(table).map(([name, value]) => [prefix + name, value]));
}

/** `name(argument, …)`. Environments and other long lists are cut. */
export function formatCall(formatted: Call): string {
  signatures ??= makeSignatures();
  const kinds = signatures[formatted.name] ?? [];
  return `${formatted.name}(${formatted.args.map((argument, i) => formatArgument(argument, kinds[i] ?? N)).join(', ')})`;
}

/** `name(argument, …) = result`, with the error's name for -errno. */
export function formatResult(traced: Call, result: number): string {
  if (result >= 0 || result < -4095) return `${formatCall(traced)} = ${result}`;
  const { name, text } = errnoByNumber(-result);
  return `${formatCall(traced)} = -1 ${name} (${text})`;
}

const LONGEST_LIST = 16;
const LONGEST_TEXT = 64;

function formatArgument(argument: Argument, kind: Kind): string {
  if (argument === null) return 'NULL';
  if (typeof argument === 'string') return JSON.stringify(argument);
  if (typeof argument === 'number' || typeof argument === 'bigint') return formatNumber(argument, kind);
  if (argument instanceof Uint8Array) return formatBytes(argument, kind);
  if ('out' in argument) return `{${argument.out.byteLength} bytes}`;
  if ('resultOf' in argument) return `<${argument.resultOf.name}>`;
  if ('bytes' in argument) return `{${argument.bytes.byteLength} bytes}`;
  const shown = argument.slice(0, LONGEST_LIST).map(text => JSON.stringify(text));
  return `[${shown.join(', ')}${argument.length > LONGEST_LIST ? ', …' : ''}]`;
}

/** Bytes that are read: a known struct, or text, or their number. */
function formatBytes(bytes: Uint8Array, kind: Kind): string {
  if (typeof kind === 'object' && 'words' in kind) {
    const words = new BigUint64Array(bytes.slice().buffer);
    return `{${Object.entries(kind.words)
      .map(([name, word], i) => `${name}=${formatNumber(words[i] ?? 0n, word)}`)
      .join(', ')}}`;
  }
  const text = Buffer.from(bytes.subarray(0, LONGEST_TEXT)).toString('latin1');
  if (!/^[\t\n\x20-\x7e]+$/.test(text)) return `{${bytes.byteLength} bytes}`;
  return JSON.stringify(text) + (bytes.byteLength > LONGEST_TEXT ? '…' : '');
}

function formatNumber(value: number | bigint, kind: Kind): string {
  if (kind === 'fd' && Number(value) === k.AT.FDCWD) return 'AT_FDCWD';
  if (kind === 'hex') return `0x${BigInt.asUintN(64, BigInt(value)).toString(16)}`;
  if (kind === 'octal') return `0${value.toString(8)}`;
  if (typeof kind === 'string' || 'words' in kind) return String(value);
  if ('oneOf' in kind) {
    const name = Object.keys(kind.oneOf).find(key => BigInt(kind.oneOf[key]!) === BigInt(value));
    return name ? kind.prefix + name : String(value);
  }
  let rest = BigInt(value);
  const names: string[] = [];
  for (const [name, bit] of Object.entries(kind.flags)) {
    const bits = BigInt(bit);
    if (bits === 0n || (rest & bits) !== bits) continue;
    names.push(kind.prefix + name);
    rest &= ~bits;
  }
  if (rest !== 0n || names.length === 0) names.push(rest === 0n ? '0' : `0x${rest.toString(16)}`);
  return names.join('|');
}
