/** The partitions of a table of either kind in one form, and why some of them can't be mounted whatever else there is. */
import type { Architecture, Designator, Flag, GptPartition, MbrPartition } from '../../gpt/index.ts';
import { type Content, type Disk, isGpt } from './disk.ts';
import type { Host } from './dissect.ts';
import { varUuid } from './var-uuid.ts';

export interface Candidate {
  /** For messages: `partition 2 (root-x86-64)`. */
  name: string;
  number?: number;
  /** Bytes from the start of the disk. */
  offset: number;
  /** In bytes. */
  size: number;
  designator?: Designator | undefined;
  architecture?: Architecture | undefined;
  flags: readonly Flag[];
  content: Content;
  /** Why it isn't mounted whatever else there is: what is marked on it. */
  barred?: string | undefined;
}

/** The partitions by number. */
export function candidatesOf({ partitions }: Disk, host: Host): Candidate[] {
  return partitions.map(({ entry, content }) => {
    const { number, offset, size } = entry;
    const type = entry.typeName ?? (isGpt(entry) ? entry.type : mbrType(entry));
    const shared = { name: `partition ${number} (${type})`, number, offset, size, content };
    return { ...shared, ...(isGpt(entry) ? gptMarks(entry, host) : mbrMarks(entry)) };
  });
}

type Marks = Pick<Candidate, 'designator' | 'architecture' | 'flags' | 'barred'>;

function gptMarks({ designator, architecture, flags, id }: GptPartition, { machineId }: Host): Marks {
  const marks = { designator, architecture, flags };
  // UEFI 2.10, 13.3.3: what firmware isn't to look into is no ESP. The other flag is not defined for one.
  const forbidding: Flag = designator === 'esp' ? 'noBlockIo' : 'noAuto';
  if (designator && flags.includes(forbidding)) return { ...marks, barred: FORBIDDEN[forbidding] };
  if (designator !== 'var') return marks;
  if (machineId === undefined) return { ...marks, barred: 'it is for one machine, and this one has no machine id' };
  if (varUuid(machineId) === id) return marks;
  return { ...marks, barred: 'it is for a machine with another machine id' };
}

const FORBIDDEN = {
  noAuto: 'it is marked as not to be mounted (no-auto)',
  noBlockIo: 'it is marked as not for firmware (no-block-io)',
};

/** systemd-nspawn takes only these from an MBR: bootable ones of Linux, and the partition of boot loader entries. */
function mbrMarks({ type, bootable, role }: MbrPartition): Marks {
  if (role === 'extended') return { flags: [], barred: 'it holds the logical partitions' };
  if (type === MBR.xbootldr) return { flags: [], designator: 'xbootldr' };
  if (type !== MBR.linux) return { flags: [] };
  return { flags: [], designator: 'linux-generic', ...(!bootable && { barred: 'it is not marked as bootable' }) };
}

const MBR = { linux: 0x83, xbootldr: 0xea };

export const mbrType = ({ type }: MbrPartition): string => `0x${type.toString(16).padStart(2, '0')}`;
