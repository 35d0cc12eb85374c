import { be32, hasBytes, le32, text, uuid } from '../bytes.ts';
import { readRange } from '../source.ts';
import type { Format } from '../superblock.ts';

/** Sizes that a page has on one architecture or another; the signature is at the end of the first page. */
const PAGE_SIZES = [4096, 8192, 16384, 32768, 65536];
/** Version 0 (SWAP-SPACE), of before 1998, is not supported by Linux any more. */
const SIGNATURE = 'SWAPSPACE2';
/** While a machine is hibernated to it: HIBERNATE_SIG, linux/kernel/power/swap.c, and those of programs that do it. */
const HIBERNATED = ['S1SUSPEND\0', 'S2SUSPEND\0', 'ULSUSPEND\0', 'LINHIB0001'];
/** union swap_header: linux/include/linux/swap.h. The first KiB is left for boot code. */
const HEADER = { offset: 1024, length: 44 };
const VERSION = 1;

export const SWAP: Format = {
  length: SIGNATURE.length,
  signatures: PAGE_SIZES.map(size => ({
    superblock: size - SIGNATURE.length,
    at: 0,
    bytes: [SIGNATURE, ...HIBERNATED],
  })),
  async read(signature, source, offset) {
    const pageSize = offset + SIGNATURE.length;
    const header = await readRange(source, HEADER.offset, HEADER.length);
    if (!header) return undefined;
    // Numbers are in the byte order of the machine that made it.
    const u32 = [le32, be32].find(read => read(header, 0) === VERSION);
    if (!u32) return undefined;
    const hibernated = HIBERNATED.find(each => hasBytes(signature, 0, each));
    return {
      type: hibernated === undefined ? 'swap' : 'swsuspend',
      label: text(header, 28, 16),
      uuid: uuid(header, 12),
      version: hibernated?.replace('\0', '').toLowerCase() ?? String(VERSION),
      blockSize: pageSize,
      size: (u32(header, 4) + 1) * pageSize,
    };
  },
};
