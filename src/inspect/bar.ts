/** The layout of a disk as a bar of boxes, each as wide as its share of the disk. */

export interface Segment {
  /** Bytes from the start of the disk. */
  offset: number;
  /** In bytes. */
  size: number;
  /** What is written into the box, a text each line; what doesn't fit is cut off. Printable ASCII. */
  lines: readonly [string, string];
}

/** Columns within a box that a number needs. */
const NARROWEST = 3;
/** Gaps up to this size, or this share of the disk, are only there for alignment. */
const ALIGNMENT = 1024 * 1024;
const SMALLEST_SHARE = 0.01;

/** Draws the bar, `width` columns wide: four lines. */
export function drawBar(segments: readonly Segment[], diskSize: number, width: number): string[] {
  const boxes = merged(withGaps(segments, diskSize), width);
  const columns = shares(
    boxes.map(({ size }) => size),
    width - boxes.length - 1,
  );
  const line = (left: string, between: string, right: string, inner: (box: Segment, columns: number) => string) =>
    left + boxes.map((box, index) => inner(box, columns[index]!)).join(between) + right;
  const rule = (_: Segment, count: number) => '─'.repeat(count);
  return [
    line('┌', '┬', '┐', rule),
    ...[0, 1].map(row => line('│', '│', '│', ({ lines }, count) => lines[row]!.slice(0, count).padEnd(count))),
    line('└', '┴', '┘', rule),
  ];
}

/** Puts boxes where nothing is. Where partitions overlap, the later one is drawn from where the first one ends. */
function withGaps(segments: readonly Segment[], diskSize: number): Segment[] {
  const boxes: Segment[] = [];
  let end = 0;
  const addGap = (until: number) => {
    if (until - end <= Math.max(ALIGNMENT, diskSize * SMALLEST_SHARE)) return;
    boxes.push({ offset: end, size: until - end, lines: ['', 'free'] });
  };
  for (const segment of segments.toSorted((a, b) => a.offset - b.offset)) {
    addGap(segment.offset);
    const drawnFrom = Math.max(segment.offset, end);
    end = Math.max(end, segment.offset + segment.size);
    boxes.push({ ...segment, size: end - drawnFrom });
  }
  addGap(diskSize);
  return boxes.length > 0 ? boxes : [{ offset: 0, size: diskSize, lines: ['', ''] }];
}

/** As many boxes as there is room for: those that are smallest together become one. */
function merged(boxes: Segment[], width: number): Segment[] {
  const most = Math.max(1, Math.floor((width - 1) / (NARROWEST + 1)));
  const left = [...boxes];
  while (left.length > most) {
    const sums = left.slice(1).map((box, index) => box.size + left[index]!.size);
    const at = sums.indexOf(Math.min(...sums));
    left.splice(at, 2, { offset: left[at]!.offset, size: sums[at]!, lines: ['…', ''] });
  }
  return left;
}

/** Divides columns in proportion, none below the narrowest, so that they add up. */
function shares(sizes: readonly number[], columns: number): number[] {
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const spare = columns - NARROWEST * sizes.length;
  let before = 0;
  let given = 0;
  return sizes.map(size => {
    before += size;
    const upTo = Math.round((spare * before) / Math.max(total, 1));
    const share = upTo - given;
    given = upTo;
    return NARROWEST + share;
  });
}
