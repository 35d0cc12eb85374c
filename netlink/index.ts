/**
 * Netlink for any JavaScript runtime: the codec, rtnetlink's messages, and a connection over a socket that is handed in.
 * The parts are of use alone, too: a request becomes bytes with `encodeRequest`, an answer is read with
 * `verifyAcknowledged` or `decodeMessages`.
 */
export { type Acknowledgement, type Explanation, KernelError, verifyAcknowledged } from './acknowledgement.ts';
export {
  type Address,
  type AddressSettings,
  decodeAddress,
  deleteAddress,
  dumpAddresses,
  FOREVER,
  newAddress,
} from './address.ts';
export type { BridgeData, BridgePortData } from './bridge.ts';
export { type Attribute, Decoder, Encoder } from './codec.ts';
export { Connection } from './connection.ts';
export { InvalidValueError, MalformedMessageError, NetlinkError, NoAnswerError } from './error.ts';
export { type Change, type Lost, type Subscription, subscribe, type Topics } from './events.ts';
export { decodeFields, encodeFields, type Field, type Fields, type Values } from './field.ts';
export {
  type Family,
  formatIp,
  formatLinkAddress,
  type Prefix,
  parseIp,
  parseLinkAddress,
  parsePrefix,
} from './ip-address.ts';
export { dataOfKind, decodeLink, type Link } from './link.ts';
export type { LinkInfo } from './link-info.ts';
export type {
  IpvlanData,
  LinkDataByKind,
  MacvlanData,
  PortDataByKind,
  QosMapping,
  TunData,
  VlanData,
} from './link-kinds.ts';
export { IPVLAN_MODES, MACVLAN_MODES } from './link-kinds.ts';
export {
  addAltNames,
  deleteAltNames,
  deleteLink,
  dumpLinks,
  getLink,
  type LinkChange,
  type LinkSettings,
  type LinkTarget,
  type NewLink,
  type NewLinkSettings,
  newLink,
  setLink,
  setLinkUp,
} from './link-request.ts';
export type { LinkStatistics } from './link-statistics.ts';
export { type Creation, decodeMessages, encodeRequest, type Message, type Query, type Request } from './message.ts';
export type { Flag, Name } from './names.ts';
export {
  decodeNeighbour,
  deleteNeighbour,
  dumpNeighbours,
  getNeighbour,
  type Neighbour,
  type NeighbourSettings,
  newNeighbour,
} from './neighbour.ts';
export { decodeRoute, type Nexthop, ROUTE_TABLES, type Route, type RouteMetrics, type RouteSettings } from './route.ts';
export { deleteRoute, dumpRoutes, getRoute, newRoute } from './route-request.ts';
export { NETLINK_OPTIONS, type NetlinkSocket } from './socket.ts';
export type { VxlanData } from './vxlan.ts';
