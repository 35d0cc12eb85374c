import { le32 } from '../bytes.ts';
import { type ByteSource, readRange } from '../source.ts';

/** Where the clusters of a FAT32 or exFAT are, in bytes. */
export interface Clusters {
  /** Of the first cluster, which has number 2. */
  heap: number;
  clusterSize: number;
  /** Of the table that tells for each cluster which one follows. */
  fat: number;
  /** The bits of an entry of the table that are a number. */
  mask: number;
}

/** Clusters can be large, and a label is among the first entries of a directory: it is read in pieces, and not to its end. */
const PIECE = 4096;
const MOST_PIECES = 64;

/** The bytes of a directory from its first cluster on, as far as its chain goes within the source. */
export async function* directoryPieces(
  source: ByteSource,
  clusters: Clusters,
  first: number,
): AsyncGenerator<Uint8Array> {
  const { heap, clusterSize, fat, mask } = clusters;
  const pieceSize = Math.min(PIECE, clusterSize);
  let cluster = first;
  let at = 0;
  for (let count = 0; count < MOST_PIECES && cluster >= 2; count++) {
    const piece = await readRange(source, heap + (cluster - 2) * clusterSize + at, pieceSize);
    if (!piece) return;
    yield piece;
    at += pieceSize;
    if (at < clusterSize) continue;
    const link = await readRange(source, fat + cluster * 4, 4);
    if (!link) return;
    cluster = (le32(link, 0) & mask) >>> 0;
    at = 0;
  }
}
