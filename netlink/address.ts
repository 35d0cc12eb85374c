import type { Encoder } from './codec.ts';
import { decodeFields, encodeFields, type Field, ip, named, readFamily, s32, string, u8, u32 } from './field.ts';
import { FAMILIES, type Family, familyOf } from './ip-address.ts';
import {
  CREATION_FLAGS,
  type Creation,
  change,
  type Message,
  NLM_F,
  openBody,
  type Query,
  query,
  type Request,
} from './message.ts';
import { bitsOf, type Flag, flagsOf, type Name, nameOf, numberOf } from './names.ts';
import { RTM, SCOPES } from './rtnetlink.ts';

/** IFA_F_*, linux/if_addr.h, with the names of `ip`. The first is `secondary` for IPv4 and `temporary` for IPv6. */
const ADDRESS_FLAGS = {
  secondary: 0x1,
  nodad: 0x2,
  optimistic: 0x4,
  dadfailed: 0x8,
  home: 0x10,
  deprecated: 0x20,
  tentative: 0x40,
  permanent: 0x80,
  mngtmpaddr: 0x100,
  noprefixroute: 0x200,
  autojoin: 0x400,
  'stable-privacy': 0x800,
} as const;

/** IFAPROT_*, linux/if_addr.h: who made the address. */
const ADDRESS_PROTOCOLS = { unspec: 0, kernel_lo: 1, kernel_ra: 2, kernel_ll: 3 } as const;

/** Seconds that mean for ever, in struct ifa_cacheinfo. */
export const FOREVER = 0xffff_ffff;

/** When an address runs out, and when it was made and changed. */
export interface AddressTimes {
  /** Seconds, or FOREVER. */
  preferredLifetime: number;
  validLifetime: number;
  /** Hundredths of a second since boot. */
  created: number;
  updated: number;
}

/** struct ifa_cacheinfo, linux/if_addr.h */
const times: Field<AddressTimes> = {
  /** IFA_CACHEINFO */
  type: 6,
  write: (payload, { preferredLifetime, validLifetime, created, updated }) => {
    for (const value of [preferredLifetime, validLifetime, created, updated]) payload.u32(value);
  },
  read: payload => ({
    preferredLifetime: payload.u32(),
    validLifetime: payload.u32(),
    created: payload.u32(),
    updated: payload.u32(),
  }),
};

/** IFA_*, linux/if_addr.h, in the order that `ip` sends them. */
const addressFields = {
  /** The address of this end; may be missing if there is no other end. */
  local: ip(2),
  label: string(3),
  metric: u32(9),
  /** All 32 bits of flags; the header has room for 8. */
  flags: u32(8),
  /** The address of the other end of a point-to-point link; else that of this end. */
  address: ip(1),
  broadcast: ip(4),
  anycast: ip(5),
  multicast: ip(7),
  times,
  netnsId: s32(10),
  protocol: named(u8(11), ADDRESS_PROTOCOLS),
};

/** An address that a link is to have. */
export interface AddressSettings {
  /** Index of the link. */
  index: number;
  address: string;
  prefixLength: number;
  /** The other end of a point-to-point link; the prefix is then around this address. */
  peer?: string;
  broadcast?: string;
  /** IPv4 only: up to 15 bytes that begin with the name of the link. */
  label?: string;
  /** `global` if not given, but `host` for 127.0.0.0/8. */
  scope?: Name<typeof SCOPES>;
  flags?: Flag<typeof ADDRESS_FLAGS>[];
  /** Seconds; FOREVER if not given. */
  preferredLifetime?: number;
  validLifetime?: number;
  /** Metric of the route to the prefix. */
  metric?: number;
}

/** An address of a link, as the kernel tells of it. */
export interface Address extends AddressSettings, Partial<AddressTimes> {
  family: Family;
  scope: Name<typeof SCOPES>;
  flags: Flag<typeof ADDRESS_FLAGS>[];
  anycast?: string;
  multicast?: string;
  /** Who made it. */
  protocol?: Name<typeof ADDRESS_PROTOCOLS>;
  /** The namespace that it is in, as this one numbers it, if it was asked for by number. */
  netnsId?: number;
}

/** Gives a link an address. */
export function newAddress(settings: AddressSettings, creation: Creation = 'create'): Request {
  const action = `add address ${describe(settings)}`;
  return change(action, RTM.NEWADDR, body => writeAddress(body, settings), CREATION_FLAGS[creation]);
}

export function deleteAddress(settings: AddressSettings): Request {
  return change(`delete address ${describe(settings)}`, RTM.DELADDR, body => writeAddress(body, settings));
}

/** Lists addresses; if so wanted those of one family, or of one link (for that, with NETLINK_GET_STRICT_CHK). */
export function dumpAddresses({ family, index = 0 }: { family?: Family; index?: number } = {}): Query<Address> {
  const header = { family: family ? FAMILIES[family] : 0, prefixLength: 0, flags: 0, scope: 0, index };
  return query('list addresses', RTM.GETADDR, body => writeHeader(body, header), decodeAddress, NLM_F.DUMP);
}

/** Reads an RTM_NEWADDR or RTM_DELADDR message. */
export function decodeAddress(message: Message): Address {
  const body = openBody(message, [RTM.NEWADDR, RTM.DELADDR]);
  const family = readFamily(body);
  const prefixLength = body.u8();
  const headerFlags = body.u8();
  const scope = nameOf(SCOPES, body.u8());
  const index = body.u32();
  const { local, address = local, times, flags = headerFlags, ...rest } = decodeFields(body, addressFields);
  if (address === undefined) return body.fail('an address message without an address');
  const ends = local === undefined || local === address ? { address } : { address: local, peer: address };
  return { family, index, prefixLength, scope, flags: flagsOf(ADDRESS_FLAGS, flags), ...rest, ...ends, ...times };
}

function describe({ address, prefixLength, index }: AddressSettings): string {
  return `${address}/${prefixLength} on link ${index}`;
}

function writeAddress(body: Encoder, settings: AddressSettings): void {
  const { address, prefixLength, index } = settings;
  const family = FAMILIES[familyOf(address)];
  const usualScope = address.startsWith('127.') ? 'host' : 'global';
  const scope = numberOf(SCOPES, settings.scope ?? usualScope);
  const flags = bitsOf(ADDRESS_FLAGS, settings.flags ?? []);
  const fitsHeader = flags <= 0xff;
  writeHeader(body, { family, prefixLength, flags: fitsHeader ? flags : 0, scope, index });
  encodeFields(body, addressFields, {
    local: address,
    address: settings.peer ?? address,
    broadcast: settings.broadcast,
    label: settings.label,
    metric: settings.metric,
    times: lifetimes(settings),
    flags: fitsHeader ? undefined : flags,
  });
}

function lifetimes({ preferredLifetime, validLifetime }: AddressSettings): AddressTimes | undefined {
  if (preferredLifetime === undefined && validLifetime === undefined) return undefined;
  return {
    preferredLifetime: preferredLifetime ?? FOREVER,
    validLifetime: validLifetime ?? FOREVER,
    created: 0,
    updated: 0,
  };
}

interface Header {
  family: number;
  prefixLength: number;
  flags: number;
  scope: number;
  index: number;
}

/** struct ifaddrmsg, linux/if_addr.h */
function writeHeader(body: Encoder, { family, prefixLength, flags, scope, index }: Header): void {
  body.u8(family);
  body.u8(prefixLength);
  body.u8(flags);
  body.u8(scope);
  body.u32(index);
}
