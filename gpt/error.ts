import type { Superblock } from './superblock.ts';

/** Every error that this folder raises on purpose is one of these. What a ByteSource raises comes through as it is. */
export class GptError extends Error {
  override name = 'GptError';
}

/** There is a partition table, and nothing of it that can be relied on. */
export class DamagedTableError extends GptError {
  override name = 'DamagedTableError';
}

/** The bytes can be read in two ways, and taking one of them could destroy what the other one holds. */
export class AmbiguousError extends GptError {
  override name = 'AmbiguousError';
  /** What was found, when it is superblocks. */
  readonly superblocks: readonly Superblock[];

  constructor(message: string, superblocks: readonly Superblock[] = []) {
    super(message);
    this.superblocks = superblocks;
  }
}

/** A ByteSource gave another number of bytes than it was asked for. */
export class ShortReadError extends GptError {
  override name = 'ShortReadError';
}

/** A description handed in by the caller of which no partition table can be made. */
export class InvalidDescriptionError extends GptError {
  override name = 'InvalidDescriptionError';
}
