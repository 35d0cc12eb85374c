import type { Encoder } from './codec.ts';
import { InvalidValueError } from './error.ts';
import { encodeFields, type Field, u32, type Values } from './field.ts';
import { decodeLink, LINK_FLAGS, type Link, linkFields } from './link.ts';
import { type LinkInfo, linkInfo } from './link-info.ts';
import { kindFields, type LinkDataByKind } from './link-kinds.ts';
import { change, NLM_F, type Query, query, type Request } from './message.ts';
import { RTM } from './rtnetlink.ts';

/** A link by its index or by one of its names. */
export type LinkTarget = number | string;

/** What can be set by name and number, in the order that `ip` sends it. */
const settingFields = {
  link: linkFields.link,
  mtu: linkFields.mtu,
  address: linkFields.address,
  broadcast: linkFields.broadcast,
  txQueueLength: linkFields.txQueueLength,
  numTxQueues: linkFields.numTxQueues,
  numRxQueues: linkFields.numRxQueues,
  master: linkFields.master,
  group: linkFields.group,
  alias: linkFields.alias,
  /** The kernel takes this up last, when it has brought the link up already. */
  afSpec: linkFields.afSpec,
  /** The namespace to put it in: that of a process, or that of an open file of /proc/PID/ns/net. IFLA_NET_NS_* */
  netnsPid: u32(19),
  netnsFd: u32(28),
  /** The namespace in which `link` is an index, as this namespace numbers it. */
  linkNetnsId: linkFields.linkNetnsId,
  name: linkFields.name,
};

/** Settings that are bits in the header. */
const SWITCHES = {
  up: LINK_FLAGS.UP,
  noarp: LINK_FLAGS.NOARP,
  promiscuous: LINK_FLAGS.PROMISC,
  allMulticast: LINK_FLAGS.ALLMULTI,
  multicast: LINK_FLAGS.MULTICAST,
};

/** What a link is to be like. What is not given is left to the kernel, or as it is. */
export type LinkSettings = Values<typeof settingFields> & { [K in keyof typeof SWITCHES]?: boolean };

/** The settings of a link that is to be made. What address families keep is set later: they refuse a link without index. */
export type NewLinkSettings = Omit<LinkSettings, 'afSpec'> & {
  /** The number that it is to have. */
  index?: number;
};

/** Each kind of link, with what it has of its own. */
type KindSettings =
  | { [K in keyof LinkDataByKind]: { kind: K; data?: LinkDataByKind[K] } }[keyof LinkDataByKind]
  | { kind: 'veth'; data?: { peer: NewLinkSettings } }
  | { kind: 'dummy' | 'ifb' };

export type NewLink = NewLinkSettings & KindSettings;

/** New settings for a link that is there. */
export type LinkChange = LinkSettings & LinkInfo;

/** VETH_INFO_PEER, linux/veth.h: a link message within the message, without its netlink header. */
const peer: Field<NewLinkSettings> = {
  type: 1,
  write: (payload, settings) => {
    writeHeader(payload, settings.index ?? 0, settings);
    encodeFields(payload, settingFields, settings);
  },
  // The kernel never sends it: it tells of the other end by `link` and `linkNetnsId`.
  read: () => ({}),
};
const infoField = linkInfo({ ...kindFields, veth: { peer } });

/** Attributes that hold a name of the link: the first has room for 15 bytes, the second for 127. linux/if_link.h */
const IFLA_IFNAME = 3;
const IFLA_ALT_IFNAME = 53;
const IFLA_PROP_LIST = 52;

/**
 * Makes a link. Both ends of a veth pair are made at once, and the peer can start its life in another namespace:
 * `newLink({ kind: 'veth', name: 've-web', data: { peer: { name: 'host0', netnsPid: 4711 } } })`. The peer cannot be
 * `up` from the start: the kernel says ENOTCONN, as the pair is not joined yet when it tries.
 */
export function newLink(settings: NewLink): Request {
  const action =
    settings.name === undefined ? `create a ${settings.kind} link` : `create ${settings.kind} link ${settings.name}`;
  const flags = NLM_F.CREATE | NLM_F.EXCL;
  return change(
    action,
    RTM.NEWLINK,
    body => {
      writeHeader(body, settings.index ?? 0, settings);
      writeSettings(body, settings);
    },
    flags,
  );
}

/** Changes a link. To rename it, give its index: the place for a name in the message is then taken by the new one. */
export function setLink(target: LinkTarget, settings: LinkChange): Request {
  return change(`change link ${target}`, RTM.NEWLINK, body => {
    if (typeof target === 'string' && settings.name !== undefined) {
      throw new InvalidValueError(`the new name ${settings.name} needs the index of the link, not its old name`);
    }
    writeTarget(body, target, settings);
    writeSettings(body, settings);
  });
}

/** Brings a link up. In a fresh namespace lo has index 1. */
export function setLinkUp(target: LinkTarget): Request {
  return change(`bring up link ${target}`, RTM.NEWLINK, body => writeTarget(body, target, { up: true }));
}

export function deleteLink(target: LinkTarget): Request {
  return change(`delete link ${target}`, RTM.DELLINK, body => writeTarget(body, target));
}

/** Adds other names, of up to 127 bytes, that the link can be found by. */
export function addAltNames(target: LinkTarget, names: readonly string[]): Request {
  const flags = NLM_F.CREATE | NLM_F.EXCL | NLM_F.APPEND;
  return change(`add names to link ${target}`, RTM.NEWLINKPROP, body => writeAltNames(body, target, names), flags);
}

export function deleteAltNames(target: LinkTarget, names: readonly string[]): Request {
  return change(`take names from link ${target}`, RTM.DELLINKPROP, body => writeAltNames(body, target, names));
}

export function getLink(target: LinkTarget): Query<Link> {
  return query(`read link ${target}`, RTM.GETLINK, body => writeTarget(body, target), decodeLink);
}

export function dumpLinks(): Query<Link> {
  return query('list links', RTM.GETLINK, body => writeHeader(body, 0), decodeLink, NLM_F.DUMP);
}

/** struct ifinfomsg, linux/rtnetlink.h: flags, and a mask of those that are to change. */
function writeHeader(body: Encoder, index: number, settings: LinkSettings = {}): void {
  const names = Object.keys(SWITCHES) as (keyof typeof SWITCHES)[];
  const given = names.filter(name => settings[name] !== undefined);
  const bits = (list: typeof names) => list.reduce((sum, name) => sum | SWITCHES[name], 0);
  body.u8(0);
  body.u8(0);
  body.u16(0);
  body.s32(index);
  body.u32(bits(given.filter(name => settings[name])));
  body.u32(bits(given));
}

/** The header for a link that is there; without an index the kernel looks for the name. */
function writeTarget(body: Encoder, target: LinkTarget, settings?: LinkSettings): void {
  writeHeader(body, typeof target === 'number' ? target : 0, settings);
  if (typeof target === 'number') return;
  const isShort = new TextEncoder().encode(target).length <= 15;
  body.attribute(isShort ? IFLA_IFNAME : IFLA_ALT_IFNAME, payload => payload.string(target));
}

function writeSettings(
  body: Encoder,
  settings: LinkSettings & { kind?: string; data?: object; slaveKind?: string },
): void {
  encodeFields(body, settingFields, settings);
  if (settings.kind === undefined && settings.slaveKind === undefined) return;
  body.attribute(infoField.type, payload => infoField.write(payload, settings));
}

function writeAltNames(body: Encoder, target: LinkTarget, names: readonly string[]): void {
  writeTarget(body, target);
  body.nested(IFLA_PROP_LIST, properties => {
    for (const name of names) properties.attribute(IFLA_ALT_IFNAME, payload => payload.string(name));
  });
}
