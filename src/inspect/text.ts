/** A report as lines for people, for a terminal of some width. */
import { drawBar, type Segment } from './bar.ts';
import { escaped, quoted } from './escape.ts';
import type { Report } from './report.ts';
import { readableSize } from './size.ts';

type Partition = Report['partitions'][number];
type Content = NonNullable<Report['content']>;

/** Below the row of a partition. */
const INDENT = '   ';
/** Between columns. */
const GAP = '  ';
/** The column that is cut where there is too little room: names of types are longest. */
const LONGEST = 1;

/** @param width - columns; no line is longer, but for words that are */
export function describeReport(report: Report, width: number): string[] {
  return [
    ...wrapped(headline(report), width),
    ...(report.content ? wrapped(`The whole of it is ${describeContent(report.content)}.`, width) : []),
    '',
    ...drawBar(segmentsOf(report), report.size, width),
    '',
    ...(report.partitions.length > 0 ? [...table(report.partitions, width), ''] : []),
    ...report.warnings.flatMap(warning => wrapped(`warning: ${escaped(warning)}`, width)),
    ...wrapped(verdict(report), width),
  ];
}

function headline({ path, size, table }: Report): string {
  const exact = size < 1024 ? '' : ` (${size} bytes)`;
  const what = table
    ? `${table.kind.toUpperCase()} ${table.id}, sectors of ${table.sectorSize} bytes`
    : 'no usable partition table';
  return `${escaped(path)}: ${readableSize(size)}${exact}, ${what}`;
}

/** `ext4 1.0, "label", UUID 0b6d…` */
function describeContent({ type, version, label, uuid }: Content): string {
  return [
    version === null ? type : `${type} ${escaped(version)}`,
    ...(label === null ? [] : [quoted(label)]),
    ...(uuid === null ? [] : [`UUID ${escaped(uuid)}`]),
  ].join(', ');
}

function segmentsOf({ partitions, content, size }: Report): Segment[] {
  if (partitions.length === 0) {
    const lines = [content?.type ?? '', content ? readableSize(size) : ''] as const;
    return content ? [{ offset: 0, size, lines }] : [];
  }
  return partitions
    .filter(partition => !isExtended(partition))
    .map(({ number, typeName, offset, size }) => ({
      offset,
      size,
      lines: [`${number} ${typeName ?? ''}`, readableSize(size)],
    }));
}

/** It is where the logical ones are. */
const isExtended = ({ type }: Partition): boolean => ['0x05', '0x0f', '0x85'].includes(type);

interface Column {
  title: string;
  isNumber?: true;
  cell: (partition: Partition) => string;
}

const COLUMNS: readonly Column[] = [
  { title: '#', isNumber: true, cell: ({ number }) => String(number) },
  { title: 'Type', cell: ({ type, typeName }) => typeName ?? (type.length > 4 ? 'unknown' : type) },
  { title: 'Start', isNumber: true, cell: ({ offset }) => readableSize(offset) },
  { title: 'Size', isNumber: true, cell: ({ size }) => readableSize(size) },
  { title: 'Contents', cell: ({ content }) => content?.type ?? '-' },
  { title: 'Mounted at', cell: ({ mount }) => describeMount(mount) },
];

function describeMount(mount: Partition['mount']): string {
  if (!mount) return '-';
  const at = mount.fallback === null ? mount.at : `${mount.at} or ${mount.fallback}`;
  return mount.readOnly ? `${at}, ro` : at;
}

/** A row for each partition, and below it what doesn't fit into one. */
function table(partitions: readonly Partition[], width: number): string[] {
  const rows = [COLUMNS.map(({ title }) => title), ...partitions.map(partition => COLUMNS.map(c => c.cell(partition)))];
  const widths = COLUMNS.map((_, index) => Math.max(...rows.map(cells => cells[index]!.length)));
  const total = widths.reduce((sum, each) => sum + each + GAP.length, -GAP.length);
  widths[LONGEST] = Math.max(4, widths[LONGEST]! - Math.max(0, total - width));
  const [title, ...lines] = rows.map(cells =>
    cells
      .map((cell, index) => align(cell, widths[index]!, COLUMNS[index]!.isNumber))
      .join(GAP)
      .trimEnd(),
  );
  const below = (partition: Partition) =>
    details(partition).flatMap(line => wrapped(line, width - INDENT.length).map(each => INDENT + each));
  return [title!, ...partitions.flatMap((partition, index) => [lines[index]!, ...below(partition)])];
}

function align(text: string, width: number, isNumber = false): string {
  if (text.length > width) return `${text.slice(0, width - 1)}…`;
  return isNumber ? text.padStart(width) : text.padEnd(width);
}

function details({ type, typeName, id, label, flags, bootable, content, reason }: Partition): string[] {
  const marks = bootable ? ['bootable', ...flags] : flags;
  return [
    [`partition UUID ${id}`, ...(label === null ? [] : [quoted(label)])].join(', '),
    ...(typeName === null && type.length > 4 ? [`type ${type}`] : []),
    ...(marks.length > 0 ? [`marked ${marks.join(', ')}`] : []),
    ...(content ? [describeContent(content)] : []),
    ...(reason === null ? [] : [`not mounted: ${escaped(reason)}`]),
  ];
}

function verdict(report: Report): string {
  const { path, refusal, mount, partitions, architecture } = report;
  const start = `nspawn -i ${escaped(path)}: `;
  if (refusal !== null) return `${start}refused, ${escaped(refusal)}`;
  const mounted = partitions.filter(partition => partition.mount);
  const root = mounted.find(partition => partition.mount?.at === '/');
  const others = mounted.filter(partition => partition !== root).map(partition => partition.mount!.at);
  const what = mount
    ? 'the root is all of it'
    : root
      ? `the root is partition ${root.number}`
      : 'the root is empty, in memory';
  const content = mount ? report.content : root?.content;
  return [
    start + what + (content ? ` (${content.type})` : ''),
    ...(architecture === null ? [] : [`for ${architecture}`]),
    ...(mount?.readOnly || root?.mount?.readOnly ? ['read-only'] : []),
    ...(others.length > 0 ? [`with ${others.join(', ')}`] : []),
  ].join(', ');
}

/** Breaks a text between words; the lines after the first one are indented. */
function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const longer = `${lines.at(-1)} ${word}`;
    if (lines.length > 0 && longer.length <= width) lines[lines.length - 1] = longer;
    else lines.push(lines.length > 0 ? `  ${word}` : word);
  }
  return lines;
}
