import type { Encoder } from './codec.ts';
import { encodeFields } from './field.ts';
import { FAMILIES, type Family, familyOf, parsePrefix } from './ip-address.ts';
import { CREATION_FLAGS, type Creation, change, NLM_F, type Query, query, type Request } from './message.ts';
import { bitsOf, numberOf } from './names.ts';
import {
  decodeRoute,
  ROUTE_FLAGS,
  ROUTE_PROTOCOLS,
  ROUTE_TABLES,
  ROUTE_TYPES,
  type Route,
  type RouteSettings,
  routeFields,
} from './route.ts';
import { RTM, SCOPES } from './rtnetlink.ts';

/** RTM_F_LOOKUP_TABLE, linux/rtnetlink.h: the answer names the table that the route is in. IPv6 does so anyway, and refuses it. */
const LOOKUP_TABLE = 0x1000;

export function newRoute(settings: RouteSettings, creation: Creation = 'create'): Request {
  const defaults = { type: 'unicast', protocol: 'boot', scope: scopeOf(settings) } as const;
  const action = `add route to ${settings.destination}`;
  return change(action, RTM.NEWROUTE, body => writeRoute(body, { ...defaults, ...settings }), CREATION_FLAGS[creation]);
}

/** Deletes the first route that has all that is given; what is not given may be anything. */
export function deleteRoute(settings: RouteSettings): Request {
  const scope = familyOf(settings.destination) === 'inet' ? 'nowhere' : 'global';
  const defaults = { type: 'unspec', protocol: 'unspec', scope } as const;
  const action = `delete route to ${settings.destination}`;
  return change(action, RTM.DELROUTE, body => writeRoute(body, { ...defaults, ...settings }));
}

/** Asks which route a packet to an address would take. */
export function getRoute(destination: string): Query<Route> {
  const fill = (body: Encoder) => {
    const { family, address, prefixLength } = parsePrefix(destination);
    writeHeader(body, { family, destinationLength: prefixLength, flags: family === 'inet' ? LOOKUP_TABLE : 0 });
    encodeFields(body, routeFields, { destination: address });
  };
  return query(`find the route to ${destination}`, RTM.GETROUTE, fill, decodeRoute);
}

/** Lists the routes of a family, if so wanted of one table only (for that, with NETLINK_GET_STRICT_CHK). */
export function dumpRoutes(family: Family, { table }: { table?: number } = {}): Query<Route> {
  const fill = (body: Encoder) => {
    writeHeader(body, { family });
    encodeFields(body, routeFields, { table });
  };
  return query('list routes', RTM.GETROUTE, fill, decodeRoute, NLM_F.DUMP);
}

/** The reach of a route whose scope is not given: packets that need no gateway go no further than the link. */
function scopeOf({ destination, type = 'unicast', gateway, nexthops, nexthopId }: RouteSettings): keyof typeof SCOPES {
  // IPv6 routes have no scope.
  if (familyOf(destination) === 'inet6') return 'global';
  if (type === 'local' || type === 'nat') return 'host';
  if (type === 'broadcast' || type === 'multicast' || type === 'anycast') return 'link';
  const isDirect = gateway === undefined && nexthops === undefined && nexthopId === undefined;
  return type === 'unicast' && isDirect ? 'link' : 'global';
}

function writeRoute(body: Encoder, settings: RouteSettings): void {
  const { table = ROUTE_TABLES.main, flags = [], scope = 'global', type = 'unspec', protocol = 'unspec' } = settings;
  const destination = parsePrefix(settings.destination);
  const source = settings.source === undefined ? undefined : parsePrefix(settings.source);
  const { family } = destination;
  const crosses = settings.gateway !== undefined && familyOf(settings.gateway) !== family;
  // The header has room for tables up to 255; RT_TABLE_UNSPEC (0) there points to the attribute.
  const fitsHeader = table <= 0xff;
  writeHeader(body, {
    family,
    destinationLength: destination.prefixLength,
    sourceLength: source?.prefixLength ?? 0,
    tos: settings.tos ?? 0,
    table: fitsHeader ? table : 0,
    protocol: numberOf(ROUTE_PROTOCOLS, protocol),
    scope: numberOf(SCOPES, scope),
    type: numberOf(ROUTE_TYPES, type),
    flags: bitsOf(ROUTE_FLAGS, flags),
  });
  encodeFields(body, routeFields, {
    destination: destination.prefixLength > 0 ? destination.address : undefined,
    source: source?.address,
    gateway: crosses ? undefined : settings.gateway,
    via: crosses ? settings.gateway : undefined,
    preferredSource: settings.preferredSource,
    metric: settings.metric,
    table: fitsHeader ? undefined : table,
    realms: settings.realms,
    preference: settings.preference,
    expires: settings.expires,
    nexthopId: settings.nexthopId,
    index: settings.index,
    metrics: settings.metrics,
    nexthops: settings.nexthops,
  });
}

interface Header {
  family: Family;
  destinationLength?: number;
  sourceLength?: number;
  tos?: number;
  table?: number;
  protocol?: number;
  scope?: number;
  type?: number;
  flags?: number;
}

/** struct rtmsg, linux/rtnetlink.h */
function writeHeader(body: Encoder, header: Header): void {
  const { destinationLength = 0, sourceLength = 0, tos = 0, table = 0, protocol = 0, scope = 0, type = 0 } = header;
  for (const byte of [FAMILIES[header.family], destinationLength, sourceLength, tos, table, protocol, scope, type]) {
    body.u8(byte);
  }
  body.u32(header.flags ?? 0);
}
