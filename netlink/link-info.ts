import type { Decoder, Encoder } from './codec.ts';
import { InvalidValueError, naming } from './error.ts';
import { decodeFields, encodeFields, type Field, type Fields } from './field.ts';
import { type LinkDataByKind, type PortDataByKind, portFields } from './link-kinds.ts';

type LinkData = LinkDataByKind[keyof LinkDataByKind];
type PortData = PortDataByKind[keyof PortDataByKind];

/** What kind of link it is, and what it is to its master. */
export interface LinkInfo {
  /** The driver: `veth`, `bridge`, `macvlan`… Real hardware, and lo, have none. */
  kind?: string;
  /** What that kind has of its own; missing for kinds that have nothing or are not known here. */
  data?: LinkData;
  /** The kind of its master. */
  slaveKind?: string;
  /** What the link has as a port of that master. */
  slaveData?: PortData;
}

/** IFLA_INFO_*, linux/if_link.h */
const INFO_KIND = 1;
const INFO_DATA = 2;
const INFO_SLAVE_KIND = 4;
const INFO_SLAVE_DATA = 5;

/** Which attributes the data of a kind has. */
type Kinds = Readonly<Record<string, Fields>>;

/** IFLA_LINKINFO, with the data of `kinds`. */
export const linkInfo = (kinds: Kinds): Field<LinkInfo> => ({
  type: 18,
  write: (payload, { kind, data, slaveKind, slaveData }) => {
    if (kind !== undefined) payload.attribute(INFO_KIND, inner => inner.text(kind));
    if (data !== undefined) naming('data', () => writeData(payload, INFO_DATA, kinds, kind, data));
    if (slaveKind !== undefined) payload.attribute(INFO_SLAVE_KIND, inner => inner.text(slaveKind));
    if (slaveData !== undefined) {
      naming('slaveData', () => writeData(payload, INFO_SLAVE_DATA, portFields, slaveKind, slaveData));
    }
  },
  read: payload => {
    const attributes = payload.attributeMap();
    const info: LinkInfo = {};
    const kind = attributes.get(INFO_KIND)?.string();
    if (kind !== undefined) info.kind = kind;
    const data = readData(attributes.get(INFO_DATA), kinds, kind);
    if (data) info.data = data;
    const slaveKind = attributes.get(INFO_SLAVE_KIND)?.string();
    if (slaveKind !== undefined) info.slaveKind = slaveKind;
    const slaveData = readData(attributes.get(INFO_SLAVE_DATA), portFields, slaveKind);
    if (slaveData) info.slaveData = slaveData;
    return info;
  },
});

function writeData(payload: Encoder, type: number, kinds: Kinds, kind: string | undefined, data: object): void {
  const fields = fieldsOf(kinds, kind);
  if (!fields) throw new InvalidValueError(`a link of kind ${kind ?? '(none given)'} has none`);
  payload.attribute(type, inner => encodeFields(inner, fields, data));
}

function readData(payload: Decoder | undefined, kinds: Kinds, kind: string | undefined): object | undefined {
  const fields = fieldsOf(kinds, kind);
  return payload && fields && decodeFields(payload, fields);
}

function fieldsOf(kinds: Kinds, kind: string | undefined): Fields | undefined {
  return kind !== undefined && Object.hasOwn(kinds, kind) ? kinds[kind] : undefined;
}
