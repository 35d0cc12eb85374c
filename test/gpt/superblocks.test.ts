/** Superblocks that the real mkfs tools made, in many ways: what is read must be what blkid reads, and the right size. */
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readPartitionTable, readSuperblock, type Superblock, type SuperblockType } from '../../gpt/index.ts';
import { needs, tool } from '../support/needs.ts';
import { createRandom } from '../support/random.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { blkid, createImage, fileSource, MIB, runOk } from './support.ts';

/** One way of making one; the file and the directory to take files from are put in at the end. */
interface Recipe {
  type: SuperblockType;
  /** What to run; IMAGE and FILES stand for the file and a directory. Its first word must be installed. */
  command: string[];
  /** Bytes of the file beforehand; none if the tool makes the file. */
  imageSize?: number;
  /** What must be read, besides what blkid says, or instead. If there is no size in it, it is that of the file. */
  expected?: Partial<Superblock>;
  input?: string;
}

const UUID = '0123abcd-4567-89ab-cdef-0123456789ab';
const LABEL = 'näme of it';
const LONG_NAME = 'a volume name that is far longer than most are, to cross the end of a sector';

const ext = (type: 'ext2' | 'ext3' | 'ext4' | 'jbd', mebibytes: number, ...options: string[]): Recipe => ({
  type,
  imageSize: mebibytes * MIB,
  command: ['mke2fs', '-q', '-F', ...options, 'IMAGE'],
});

const xfs = (mebibytes: number, expected: Partial<Superblock>, ...options: string[]): Recipe => ({
  type: 'xfs',
  imageSize: mebibytes * MIB,
  expected,
  command: ['mkfs.xfs', '-q', ...options, 'IMAGE'],
});

const fat = (version: string, kibibytes: number, blockSize: number, ...options: string[]): Recipe => ({
  type: 'vfat',
  imageSize: kibibytes * 1024,
  expected: { version, blockSize },
  command: ['mkfs.vfat', ...options, 'IMAGE'],
});

const exfat = (mebibytes: number, blockSize: number, ...options: string[]): Recipe => ({
  type: 'exfat',
  imageSize: mebibytes * MIB,
  expected: { blockSize },
  command: ['mkfs.exfat', ...options, 'IMAGE'],
});

/** The last sector keeps a copy of the first, and does not count. */
const ntfs = (mebibytes: number, sectorSize: number, blockSize: number, ...options: string[]): Recipe => ({
  type: 'ntfs',
  imageSize: mebibytes * MIB,
  expected: { version: '3.1', sectorSize, blockSize, size: mebibytes * MIB - sectorSize },
  command: ['mkntfs', '-q', '-F', '-Q', '-s', String(sectorSize), '-c', String(blockSize), ...options, 'IMAGE'],
});

const withLabel = (label: string, recipe: Recipe): Recipe => ({ ...recipe, expected: { ...recipe.expected, label } });

const squashfs = (blockSize: number, ...options: string[]): Recipe => ({
  type: 'squashfs',
  expected: { blockSize },
  command: ['mksquashfs', 'FILES', 'IMAGE', '-quiet', '-no-progress', '-b', String(blockSize), ...options],
});

const erofs = (...options: string[]): Recipe => ({
  type: 'erofs',
  command: ['mkfs.erofs', ...options, 'IMAGE', 'FILES'],
});

const f2fs = (mebibytes: number, ...options: string[]): Recipe => ({
  type: 'f2fs',
  imageSize: mebibytes * MIB,
  expected: { blockSize: 4096 },
  command: ['mkfs.f2fs', '-q', ...options, 'IMAGE'],
});

const genisoimage = (...options: string[]): Recipe => ({
  type: 'iso9660',
  command: ['genisoimage', '-quiet', ...options, '-o', 'IMAGE', 'FILES'],
});

/** The size is without the anchors at the end. */
const udf = (mebibytes: number, blockSize: number, ...options: string[]): Recipe => ({
  type: 'udf',
  imageSize: mebibytes * MIB,
  expected: { blockSize },
  command: ['mkudffs', `--blocksize=${blockSize}`, ...options, 'IMAGE'],
});

const swap = (pageSize: number, ...options: string[]): Recipe => ({
  type: 'swap',
  imageSize: 2 * MIB,
  expected: { blockSize: pageSize },
  command: ['mkswap', '-q', '--pagesize', String(pageSize), ...options, 'IMAGE'],
});

const PBKDF = ['--pbkdf', 'pbkdf2', '--pbkdf-force-iterations', '1000'];
const luks = (version: 1 | 2, ...options: string[]): Recipe => ({
  type: 'crypto_LUKS',
  imageSize: 20 * MIB,
  expected: { version: String(version), size: undefined },
  command: ['cryptsetup', 'luksFormat', '-q', '--type', `luks${version}`, ...PBKDF, ...options, 'IMAGE', '-'],
  input: 'password',
});

const verity = (blocks: number, blockSize: number, ...options: string[]): Recipe => ({
  type: 'DM_verity_hash',
  imageSize: 64 * 1024,
  expected: { blockSize, size: blocks * blockSize },
  command: [
    'veritysetup',
    'format',
    'FILES/data',
    'IMAGE',
    `--data-blocks=${blocks}`,
    `--data-block-size=${blockSize}`,
    ...options,
  ],
});

const RECIPES: Recipe[] = [
  ext('ext2', 1, '-t', 'ext2'),
  ext('ext2', 1, '-t', 'ext2', '-b', '4096', '-L', LABEL, '-U', UUID),
  ext('ext2', 1, '-t', 'ext2', '-r', '0', '-O', 'none'),
  ext('ext2', 1, '-t', 'ext4', '-O', 'none'),
  ext('ext3', 4, '-t', 'ext3', '-L', LABEL),
  ext('ext3', 4, '-t', 'ext3', '-b', '2048', '-U', UUID),
  ext('ext4', 4, '-t', 'ext4', '-L', LABEL, '-U', UUID),
  ext('ext4', 8, '-t', 'ext4', '-b', '4096', '-O', '64bit,metadata_csum'),
  ext('ext4', 8, '-t', 'ext4', '-b', '2048', '-O', '^64bit,^metadata_csum,uninit_bg'),
  ext('ext4', 4, '-t', 'ext4', '-O', '^has_journal,casefold', '-L', 'sixteen-letters!'),
  ext('ext4', 4, '-t', 'ext4', '-b', '1024', '-C', '16384', '-O', 'bigalloc,inline_data'),
  ext('jbd', 4, '-O', 'journal_dev', '-U', UUID, '-L', 'journal'),
  xfs(300, { blockSize: 4096, version: '5', sectorSize: 512 }, '-L', 'xfs label'),
  xfs(300, { blockSize: 1024, version: '5', sectorSize: 512 }, '-b', 'size=1024', '-m', `uuid=${UUID}`),
  xfs(300, { blockSize: 4096, version: '5', sectorSize: 4096 }, '-s', 'size=4096'),
  xfs(300, { blockSize: 65536, version: '5', sectorSize: 2048 }, '-b', 'size=65536', '-s', 'size=2048'),
  xfs(
    300,
    { blockSize: 4096, version: '4', sectorSize: 512 },
    '-m',
    'crc=0,finobt=0,reflink=0,rmapbt=0',
    '-L',
    'twelve chars',
  ),
  { type: 'btrfs', imageSize: 110 * MIB, command: ['mkfs.btrfs', '-q', '-L', LABEL, '-U', UUID, 'IMAGE'] },
  { type: 'btrfs', imageSize: 16 * MIB, command: ['mkfs.btrfs', '-q', '--mixed', '--nodesize', '4096', 'IMAGE'] },
  {
    type: 'btrfs',
    imageSize: 110 * MIB,
    expected: { blockSize: 16384 },
    command: ['mkfs.btrfs', '-q', '-s', '16384', '--csum', 'xxhash', 'IMAGE'],
  },
  { type: 'btrfs', imageSize: 110 * MIB, command: ['mkfs.btrfs', '-q', '--csum', 'sha256', '-d', 'single', 'IMAGE'] },
  fat('FAT12', 160, 2048),
  fat('FAT12', 1024, 2048, '-n', 'FLOPPY'),
  fat('FAT12', 1440, 1024, '-F', '12', '-s', '2', '-i', 'cafe0123', '-n', 'ELEVEN CHAR'),
  fat('FAT16', 16384, 2048, '-n', 'SIXTEEN'),
  fat('FAT16', 20480, 2048, '-F', '16', '-S', '2048', '-s', '1', '-r', '1024', '-n', 'BIG SECTORS'),
  fat('FAT32', 40960, 512, '-F', '32', '-n', 'THIRTYTWO'),
  fat('FAT32', 40960, 4096, '-F', '32', '-s', '8', '-f', '1', '-R', '64'),
  fat('FAT32', 69632, 4096, '-F', '32', '-S', '4096', '-s', '1', '-n', 'LARGE'),
  exfat(8, 4096, '-L', 'exfät lab'),
  exfat(8, 4096),
  exfat(16, 32768, '-c', '32K', '-L', 'a'),
  exfat(64, 1024, '-c', '1K', '-b', '64K'),
  ntfs(8, 512, 4096, '-L', LABEL),
  ntfs(8, 512, 512),
  // The name crosses the end of a sector of the record, where blkid shows check values.
  withLabel(LONG_NAME, ntfs(16, 1024, 65536, '-L', LONG_NAME)),
  ntfs(16, 4096, 4096, '-L', 'four'),
  squashfs(131072),
  squashfs(4096, '-comp', 'xz', '-noappend'),
  squashfs(1048576, '-nopad', '-no-xattrs'),
  erofs(),
  erofs('-U', UUID),
  erofs('-Enosbcrc', '-zlz4'),
  f2fs(64),
  f2fs(64, '-l', 'fläsh', '-O', 'extra_attr,sb_checksum'),
  f2fs(100, '-l', 'with checks', '-O', 'extra_attr,inode_checksum,sb_checksum,verity'),
  genisoimage('-V', 'PLAIN DISC'),
  genisoimage('-V', 'a mixed Case label, 32 long....'),
  genisoimage('-J', '-R', '-V', 'Joliet label'),
  genisoimage('-J', '-V', 'more than sixteen characters'),
  {
    type: 'iso9660',
    command: ['xorriso', '-as', 'mkisofs', '-quiet', '-J', '-V', 'XORRISO_DISC', '-o', 'IMAGE', 'FILES'],
  },
  { type: 'udf', expected: { blockSize: 2048 }, command: genisoimage('-udf', '-V', 'BRIDGE').command },
  udf(4, 512, '--label=one'),
  udf(4, 1024, `--label=${LABEL}`, '--udfrev=1.02'),
  udf(4, 2048, '--media-type=dvdram', '--udfrev=2.01'),
  udf(8, 2048, '--udfrev=1.50', '--label=ラベル'),
  udf(8, 2048, '--media-type=bdr', '--udfrev=2.60'),
  udf(4, 512, '--fullvsid=0123ABCDno-digits-and-more'),
  udf(4, 512, '--fullvsid=no digits'),
  udf(8, 4096, '--label=4K', '--uuid=0123456789abcdef'),
  swap(4096),
  swap(4096, '-L', LABEL, '-U', UUID),
  swap(16384, '-L', 'a'),
  swap(65536),
  luks(1),
  luks(1, '--uuid', UUID),
  luks(2, '--label', 'a label for it', '--subsystem', 'test'),
  luks(2, '--uuid', UUID, '--sector-size', '4096'),
  verity(16, 4096),
  verity(100, 512, '--hash-block-size=512', '--uuid', UUID, '--salt=-', '--format=1'),
  verity(20, 4096, '--format=0'),
];

/** Types of which the file has more than they tell of: zeros at the end, or for UDF anchors and what is before it. */
const PADDED: SuperblockType[] = ['squashfs', 'iso9660', 'udf'];

function incompressible(length: number): Uint8Array {
  const random = createRandom(1);
  return Uint8Array.from({ length }, () => random.below(256));
}

/** What blkid has to say, under our names. It does not say everything: no size, and not each version or block size. */
function asBlkid(path: string): Partial<Superblock> {
  const { TYPE, LABEL, UUID, UUID_SUB, VERSION, USAGE } = blkid(path);
  return {
    type: TYPE as SuperblockType,
    usage: USAGE as Superblock['usage'],
    label: LABEL,
    uuid: UUID,
    deviceUuid: UUID_SUB,
    ...(VERSION !== undefined && { version: VERSION }),
  };
}

for (const [index, { type, command, imageSize, expected, input }] of RECIPES.entries()) {
  const name = command.filter(word => word !== 'IMAGE' && word !== 'FILES').join(' ');
  needs([tool('blkid'), tool(command[0]!)])(`${index} ${type}: ${name}`, async () => {
    using directory = temporaryDirectory();
    const image = join(directory.path, 'image');
    const files = join(directory.path, 'files');
    mkdirSync(files);
    writeFileSync(join(files, 'data'), incompressible(256 * 1024));
    if (imageSize) createImage(image, imageSize);
    runOk(
      command.map(word => word.replace(/^IMAGE$/, image).replace(/^FILES/, files)),
      input,
    );

    const superblock = await readSuperblock(fileSource(image));
    assert.ok(superblock, 'nothing was found');
    assert.is(await readPartitionTable(fileSource(image)), undefined, 'no partition table');
    const fileSize = statSync(image).size;
    const read = asBlkid(image);
    assert.is(read.type, type, 'what blkid found');
    for (const [field, value] of Object.entries({ ...read, ...expected })) {
      assert.is(superblock[field as keyof Superblock], value, field);
    }
    const { BLOCK_SIZE } = blkid(image);
    if (BLOCK_SIZE) assert.is(superblock.sectorSize ?? superblock.blockSize, Number(BLOCK_SIZE), 'BLOCK_SIZE');
    if (expected && 'size' in expected) return;
    const { size = 0 } = superblock;
    const least = PADDED.includes(type) ? fileSize * 0.7 : fileSize;
    assert.ok(size <= fileSize && size >= least, `it has ${size} bytes, the file ${fileSize}`);
  });
}

test.run();
