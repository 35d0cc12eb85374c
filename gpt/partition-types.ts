import {
  ARCHITECTURE_TYPES,
  type Architecture,
  COMMON_TYPES,
  type Designator,
  KIN,
  TREES,
} from './discoverable-types.ts';
import { FOREIGN_TYPES } from './foreign-types.ts';

/** What is known of a partition type. */
export interface PartitionType {
  /** Lower case. */
  readonly guid: string;
  /** As in `systemd-id128 show`: root-x86-64, usr-arm64-verity, esp, …; for other systems' types microsoft-reserved, … */
  readonly name: string;
  /** What it is for, if it is a type of the Discoverable Partitions Specification. */
  readonly designator?: Designator;
  /** Of a root or /usr partition and their kin. */
  readonly architecture?: Architecture;
}

/** All types that have a name. */
export function partitionTypes(): readonly PartitionType[] {
  known ??= list();
  return known.types;
}

/** The type of a GUID (either case) or of a name, or undefined if it is unknown. */
export function partitionType(guidOrName: string): PartitionType | undefined {
  known ??= list();
  return known.byKey.get(guidOrName.toLowerCase());
}

/** The GUID of a type of the Discoverable Partitions Specification for an architecture. */
export function discoverableType(designator: Designator, architecture: Architecture): string {
  const matches = (type: PartitionType) =>
    type.designator === designator && (type.architecture ?? architecture) === architecture;
  return partitionTypes().find(matches)!.guid;
}

/** Made when first needed. */
let known: { types: PartitionType[]; byKey: Map<string, PartitionType> } | undefined;

function list() {
  const types: PartitionType[] = [];
  for (const [architecture, guids] of entries(ARCHITECTURE_TYPES)) {
    for (const [row, tree] of TREES.entries()) {
      for (const [column, kin] of KIN.entries()) {
        const guid = guids[row * KIN.length + column]!;
        types.push({ guid, name: `${tree}-${architecture}${kin}`, designator: `${tree}${kin}`, architecture });
      }
    }
  }
  for (const [name, guid] of entries(COMMON_TYPES)) types.push({ guid, name, designator: name });
  for (const [name, guid] of entries(FOREIGN_TYPES)) types.push({ guid, name });
  const byKey = new Map<string, PartitionType>();
  for (const type of types) byKey.set(type.guid, type).set(type.name, type);
  return { types, byKey };
}

const entries = <K extends string, V>(table: Record<K, V>) => Object.entries(table) as [K, V][];
