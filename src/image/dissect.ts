/**
 * From what is on a disk to what would be mounted where, and why not: the Discoverable Partitions Specification (UAPI
 * group) as systemd-nspawn 252 follows it, but for /var, which that mounts whosever it is. Pure; nothing is read or
 * mounted here.
 */
import type { Architecture, Designator, Flag, SuperblockType } from '../../gpt/index.ts';
import { type Candidate, candidatesOf } from './candidates.ts';
import type { Disk } from './disk.ts';

/** The machine that the image is to run on. */
export interface Host {
  architecture: Architecture;
  /** 32 hexadecimal digits; undefined when unknown: no partition can then be its /var. */
  machineId?: string | undefined;
}

export interface Dissection {
  /**
   * In the order of mounting, parents first. Without one at `/` the root is an empty tmpfs, and `/usr` is there. When
   * there is a refusal, what is here is only what could have been mounted.
   */
  mounts: Mount[];
  /** The other partitions, by number. */
  notMounted: NotMounted[];
  /** Of the root, or of /usr where there is no root; undefined where the type of its partition doesn't tell. */
  architecture?: Architecture | undefined;
  /** What --personality= is to be unless it is given: the root is for the host's other, older architecture. */
  personality?: Architecture | undefined;
  /** Why the image can't be started, in a few words that name the partition. Nothing of it shall then be mounted. */
  refusal?: string | undefined;
}

interface Part {
  /** Undefined when the image is a file system without a table. */
  number?: number | undefined;
  /** Bytes from the start of the disk. */
  offset: number;
  /** In bytes. */
  size: number;
  /** Attributes that its type gives a meaning to. An MBR has none. */
  flags: readonly Flag[];
}

export interface Mount extends Part {
  /** What it is mounted as: a single generic Linux partition is `root`, too. */
  designator: MountedDesignator;
  mountPoint: string;
  /** Where it goes instead, if the tree lacks `mountPoint` but has this as an empty directory. */
  fallback?: string | undefined;
  /** By its attributes, or as its file system can't be written to. */
  readOnly: boolean;
  /** As mount(2) wants it. */
  fileSystem: SuperblockType;
  /** As mount(8) calls them, besides `ro`. */
  options: readonly string[];
}

export interface NotMounted extends Part {
  /** Undefined for types that the specification doesn't know. */
  designator?: Designator | undefined;
  fileSystem?: SuperblockType | undefined;
  reason: string;
}

export type MountedDesignator = keyof typeof MOUNTS;

/** In the order of mounting. Boot partitions are for firmware and root: no symlinks, programs or other users. */
const MOUNTS = {
  root: { mountPoint: '/', options: ['nodev'] },
  usr: { mountPoint: '/usr', options: ['nodev'] },
  home: { mountPoint: '/home', options: ['nodev'] },
  srv: { mountPoint: '/srv', options: ['nodev'] },
  var: { mountPoint: '/var', options: ['nodev'] },
  tmp: { mountPoint: '/var/tmp', options: ['nodev', 'nosuid'] },
  xbootldr: { mountPoint: '/boot', options: ['nodev', 'nosuid', 'noexec', 'nosymfollow'] },
  esp: { mountPoint: '/efi', options: ['nodev', 'nosuid', 'noexec', 'nosymfollow'] },
} as const;

const DESIGNATORS = Object.keys(MOUNTS) as MountedDesignator[];

/** The architecture whose programs each also runs; personality(2) then tells them what they expect. */
const SECONDARY: Partial<Record<Architecture, Architecture>> = { 'x86-64': 'x86', arm64: 'arm' };

/** File systems that are never written to. */
const READ_ONLY: readonly SuperblockType[] = ['erofs', 'iso9660', 'squashfs'];

/**
 * Tells what of a disk would be mounted where on that host, and of everything else why not.
 *
 * A file system that spans all of the image goes before a table that is there as well, as blkid(8) has it.
 */
export function dissect(disk: Disk, host: Host): Dissection {
  const candidates = candidatesOf(disk, host);
  const { superblock, fault } = disk.whole;
  if (superblock?.usage === 'filesystem' || superblock?.usage === 'crypto') return dissectWhole(disk, candidates);
  if (fault ?? disk.tableFault) return refuse(candidates, fault ?? disk.tableFault!);
  if (!disk.table) {
    const what = superblock ? `it holds ${superblock.type}, which is no file system` : 'it holds no known file system';
    return refuse([], `there is no partition table, and ${what}`);
  }
  return dissectTable(candidates, host);
}

const REFUSED = 'the image is refused';

function refuse(candidates: readonly Candidate[], refusal: string): Dissection {
  return { mounts: [], notMounted: candidates.map(each => notMounted(each, each.barred ?? REFUSED)), refusal };
}

/** The image is one file system. */
function dissectWhole({ size, whole }: Disk, candidates: readonly Candidate[]): Dissection {
  const reason = `the image as a whole is ${whole.superblock!.type}`;
  const skipped = candidates.map(candidate => notMounted(candidate, reason));
  const root: Candidate = { name: 'it', offset: 0, size, flags: [], content: whole };
  const unfit = unfitness(root, 'root');
  if (unfit) return { mounts: [], notMounted: skipped, refusal: unfit };
  return { mounts: [mount(root, 'root', false)], notMounted: skipped };
}

function dissectTable(candidates: readonly Candidate[], host: Host): Dissection {
  const choice = choose(candidates, host);
  const result: Dissection = { mounts: [], notMounted: [], refusal: choice.refusal };
  for (const designator of DESIGNATORS) {
    const candidate = choice.chosen.get(designator);
    if (!candidate) continue;
    const unfit = unfitness(candidate, designator);
    if (unfit) {
      result.refusal ??= `${candidate.name}: ${unfit}`;
      result.notMounted.push(notMounted(candidate, unfit));
    } else {
      result.mounts.push(mount(candidate, designator, isSigned(candidates, candidate)));
    }
  }
  const chosen = new Set(choice.chosen.values());
  const others = candidates.filter(candidate => !chosen.has(candidate));
  result.notMounted.push(...others.map(each => notMounted(each, each.barred ?? whyNotChosen(each, choice))));
  result.notMounted.sort((a, b) => a.number! - b.number!);

  const { architecture } = choice.chosen.get('root') ?? choice.chosen.get('usr') ?? {};
  const isSecondary = architecture !== undefined && architecture === SECONDARY[host.architecture];
  return { ...result, architecture, ...(isSecondary && { personality: architecture }) };
}

interface Choice {
  chosen: Map<MountedDesignator, Candidate>;
  refusal?: string | undefined;
}

/** Of each kind the first partition that isn't barred; of root and /usr the native one before others. */
function choose(candidates: readonly Candidate[], host: Host): Choice {
  const open = candidates.filter(({ barred }) => barred === undefined);
  const chosen: Choice['chosen'] = new Map();
  const native = [host.architecture, SECONDARY[host.architecture]];
  // Of the others the first by number: their programs may run through binfmt_misc.
  const others = open.map(({ architecture }) => architecture);
  const architectures = new Set([...native, ...others].filter(each => each !== undefined));
  const root = chooseTree('root', open, architectures);
  // Parts of two systems don't make one.
  const usr = chooseTree('usr', open, root.tree?.architecture ? [root.tree.architecture] : architectures);
  const refusal = root.refusal ?? usr.refusal;
  if (root.tree) chosen.set('root', root.tree);
  if (usr.tree) chosen.set('usr', usr.tree);
  for (const designator of DESIGNATORS.slice(2)) {
    const first = open.find(candidate => candidate.designator === designator);
    if (first) chosen.set(designator, first);
  }
  if (refusal !== undefined || root.tree || usr.tree) return { chosen, refusal };

  const generic = open.filter(({ designator }) => designator === 'linux-generic');
  if (generic.length === 1) return { chosen: chosen.set('root', generic[0]!) };
  return { chosen, refusal: noRoot(candidates, generic) };
}

interface Tree {
  tree?: Candidate;
  refusal?: string;
}

/** verity data means that somebody relies on it: a tree that was taken away, or a hash tree, mustn't go unnoticed. */
function chooseTree(
  designator: 'root' | 'usr',
  open: readonly Candidate[],
  architectures: Iterable<Architecture>,
): Tree {
  for (const wanted of architectures) {
    const find = (kind: Designator) => open.find(each => each.designator === kind && each.architecture === wanted);
    const tree = find(designator);
    const hashes = find(`${designator}-verity`);
    const signature = find(`${designator}-verity-sig`);
    const orphan = tree ? !hashes && signature : (hashes ?? signature);
    if (orphan) return { refusal: `${orphan.name}: what it is the verity data of is missing` };
    if (tree) return { tree };
  }
  return {};
}

/** Names what comes nearest to a root. */
function noRoot(candidates: readonly Candidate[], generic: readonly Candidate[]): string {
  if (generic.length > 1) {
    const numbers = generic.map(({ number }) => number).join(', ');
    return `there is no root partition, and which of the generic Linux partitions ${numbers} it is isn't clear`;
  }
  const near = candidates.filter(
    ({ designator, barred }) => barred && ['root', 'usr', 'linux-generic'].includes(designator ?? ''),
  );
  const why = near.map(({ name, barred }) => `; ${name}: ${barred}`).join('');
  return `there is no root partition${why}`;
}

/** A tree whose hashes are signed is never written to. */
function isSigned(candidates: readonly Candidate[], { designator, architecture }: Candidate): boolean {
  return candidates.some(
    each =>
      each.barred === undefined && each.designator === `${designator}-verity-sig` && each.architecture === architecture,
  );
}

/** Why what was chosen can't be mounted. */
function unfitness({ content: { superblock, fault } }: Candidate, designator: MountedDesignator): string | undefined {
  if (fault !== undefined) return fault;
  if (!superblock) return 'it holds no known file system';
  const { type, usage, version } = superblock;
  if (type === 'crypto_LUKS') return `it is encrypted (LUKS${version}), which is not supported`;
  if (usage !== 'filesystem') return `it holds ${type}, which is no file system`;
  if (designator === 'esp' && type !== 'vfat') return `it holds ${type}, and an EFI system partition is vfat`;
  return undefined;
}

/** Partitions that are never mounted, and whose type says more than that. */
const NEVER: Partial<Record<Designator, string>> = {
  swap: 'a container has no swap of its own',
  'user-home': 'the home directory of one user',
  'root-verity': 'dm-verity is not supported: nothing is verified',
  'root-verity-sig': 'dm-verity is not supported: nothing is verified',
  'usr-verity': 'dm-verity is not supported: nothing is verified',
  'usr-verity-sig': 'dm-verity is not supported: nothing is verified',
};

function whyNotChosen({ designator, architecture }: Candidate, { chosen, refusal }: Choice): string {
  if (!designator) return 'of a type that is not mounted';
  const never = NEVER[designator];
  if (never !== undefined) return never;
  const first = chosen.get(designator as MountedDesignator);
  if (first && first.architecture === architecture) return `${first.name} comes first`;
  const tree = chosen.get('root') ?? chosen.get('usr');
  if (!tree || refusal !== undefined) return refusal ?? REFUSED;
  if (designator === 'linux-generic') return `generic, and ${tree.name} is marked for what it is`;
  return `it is for ${architecture}, and ${tree.name} for ${tree.architecture}`;
}

function mount(candidate: Candidate, designator: MountedDesignator, isSigned: boolean): Mount {
  const { number, offset, size, flags, content } = candidate;
  const { mountPoint, options } = MOUNTS[designator];
  const { type } = content.superblock!;
  const isBoot = designator === 'esp' || designator === 'xbootldr';
  return {
    number,
    offset,
    size,
    flags,
    designator,
    mountPoint,
    ...(designator === 'esp' && { fallback: MOUNTS.xbootldr.mountPoint }),
    // The specification has no such flag for an ESP.
    readOnly: (designator !== 'esp' && flags.includes('readOnly')) || isSigned || READ_ONLY.includes(type),
    fileSystem: type,
    options: isBoot && type === 'vfat' ? [...options, 'umask=0077'] : options,
  };
}

function notMounted({ number, offset, size, flags, designator, content }: Candidate, reason: string): NotMounted {
  return { number, offset, size, flags, designator, fileSystem: content.superblock?.type, reason };
}
