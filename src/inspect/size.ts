const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'] as const;

/** A number of bytes as people read it: `512 MiB`, `1.37 GiB`; three digits, and never more than there is. */
export function readableSize(bytes: number): string {
  const unit = Math.min(UNITS.length - 1, Math.floor(Math.log2(Math.max(bytes, 1)) / 10));
  const value = bytes / 1024 ** unit;
  const digits = value < 10 ? 100 : value < 100 ? 10 : 1;
  return `${Math.floor(value * digits) / digits} ${UNITS[unit]}`;
}
