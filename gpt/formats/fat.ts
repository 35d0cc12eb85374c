import { hasBytes, hex, isPowerOfTwo, le16, le32, text, u8 } from '../bytes.ts';
import { BOOT_SIGNATURE, BOOT_SIGNATURE_AT } from '../mbr.ts';
import { type ByteSource, readRange } from '../source.ts';
import type { Format } from '../superblock.ts';
import { directoryPieces } from './fat-chain.ts';

/** Microsoft, FAT: General Overview of On-Disk Format, 1.03: the BIOS parameter block, and limits of FAT types. */
const FAT12_CLUSTERS = 4085;
const FAT16_CLUSTERS = 65525;
const DIRECTORY_ENTRY = 32;
const ATTRIBUTE_VOLUME_ID = 0x08;
const ATTRIBUTE_DIRECTORY = 0x10;
const LONG_NAME = 0x0f;
const FREE = 0xe5;

/** FAT12, FAT16 and FAT32. The name of the type in the boot sector means nothing by itself, and may be missing. */
export const FAT: Format = {
  length: 512,
  signatures: [
    { superblock: 0, at: BOOT_SIGNATURE_AT, bytes: [BOOT_SIGNATURE] },
    { superblock: 0, at: 0x36, bytes: ['FAT', 'MSDOS'] },
    { superblock: 0, at: 0x52, bytes: ['FAT32   ', 'MSWIN'] },
  ],
  async read(sector, source) {
    const parameters = decodeParameters(sector);
    if (!parameters) return undefined;
    const { version, sectorSize, sectorsPerCluster, sectors } = parameters;
    const serial = version === 'FAT32' ? 0x43 : 0x27;
    const label =
      version === 'FAT32' ? await fat32Label(sector, parameters, source) : await rootLabel(parameters, source);
    return {
      type: 'vfat',
      label,
      uuid: serialNumber(sector, serial),
      version,
      blockSize: sectorSize * sectorsPerCluster,
      sectorSize,
      size: sectors * sectorSize,
    };
  },
};

/** True if the sector has parameters of a FAT: an MBR has not. */
export const hasFatParameters = (sector: Uint8Array): boolean => decodeParameters(sector) !== undefined;

/** `1234-ABCD` */
export function serialNumber(bytes: Uint8Array, at: number): string {
  const digits = hex(bytes.slice(at, at + 4).reverse()).toUpperCase();
  return `${digits.slice(0, 4)}-${digits.slice(4)}`;
}

interface Parameters {
  version: 'FAT12' | 'FAT16' | 'FAT32';
  sectorSize: number;
  sectorsPerCluster: number;
  /** Of the whole. */
  sectors: number;
  /** Sectors before the first FAT. */
  reserved: number;
  /** The root directory of FAT12 and FAT16; the first cluster of FAT32. */
  dataStart: number;
  rootEntries: number;
}

function decodeParameters(sector: Uint8Array): Parameters | undefined {
  const sectorSize = le16(sector, 0x0b);
  const sectorsPerCluster = u8(sector, 0x0d);
  const reserved = le16(sector, 0x0e);
  const fats = u8(sector, 0x10);
  const media = u8(sector, 0x15);
  if (!isPowerOfTwo(sectorSize) || sectorSize < 512 || sectorSize > 4096) return undefined;
  if (!isPowerOfTwo(sectorsPerCluster) || reserved === 0 || fats === 0) return undefined;
  if (media !== 0xf0 && media < 0xf8) return undefined;
  // JFS and HPFS of OS/2 have such parameters, too, that are none.
  if (hasBytes(sector, 0x36, 'JFS     ') || hasBytes(sector, 0x36, 'HPFS    ')) return undefined;

  const fatLength = le16(sector, 0x16);
  const rootEntries = le16(sector, 0x11);
  const sectors = le16(sector, 0x13) || le32(sector, 0x20);
  const dataStart = reserved + fats * (fatLength || le32(sector, 0x24));
  const clusters = (sectors - dataStart - Math.ceil((rootEntries * DIRECTORY_ENTRY) / sectorSize)) / sectorsPerCluster;
  if (clusters < 0 || (fatLength > 0 && clusters >= FAT16_CLUSTERS)) return undefined;
  const version = fatLength === 0 ? 'FAT32' : clusters < FAT12_CLUSTERS ? 'FAT12' : 'FAT16';
  if (version === 'FAT32' && (le32(sector, 0x24) === 0 || rootEntries !== 0)) return undefined;
  return { version, sectorSize, sectorsPerCluster, sectors, reserved, dataStart, rootEntries };
}

/** The label that counts is an entry of the root directory: the one in the boot sector is often left as it was. */
async function rootLabel({ sectorSize, dataStart, rootEntries }: Parameters, source: ByteSource) {
  const root = await readRange(source, dataStart * sectorSize, rootEntries * DIRECTORY_ENTRY);
  return root && findLabel(root).label;
}

async function fat32Label(sector: Uint8Array, parameters: Parameters, source: ByteSource) {
  const { sectorSize, sectorsPerCluster, reserved, dataStart } = parameters;
  const clusters = {
    heap: dataStart * sectorSize,
    clusterSize: sectorsPerCluster * sectorSize,
    fat: reserved * sectorSize,
    mask: 0x0fff_ffff,
  };
  for await (const piece of directoryPieces(source, clusters, le32(sector, 0x2c))) {
    const { label, isEnd } = findLabel(piece);
    if (isEnd) return label;
  }
  return undefined;
}

/** The label, if it is in this part of the directory, and whether there is no need to look further. */
function findLabel(directory: Uint8Array): { label?: string | undefined; isEnd: boolean } {
  for (let at = 0; at < directory.length; at += DIRECTORY_ENTRY) {
    const attributes = u8(directory, at + 11);
    if (directory[at] === 0) return { isEnd: true };
    if (directory[at] === FREE || (attributes & LONG_NAME) === LONG_NAME) continue;
    if ((attributes & (ATTRIBUTE_VOLUME_ID | ATTRIBUTE_DIRECTORY)) !== ATTRIBUTE_VOLUME_ID) continue;
    // Characters above ASCII are in a code page that nothing tells; they are read as UTF-8, which Linux tools write.
    const label = text(directory, at, 11);
    return { label: label === 'NO NAME' ? undefined : label, isEnd: true };
  }
  return { isEnd: false };
}
