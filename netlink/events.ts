import { type Address, decodeAddress } from './address.ts';
import { decodeLink, type Link } from './link.ts';
import { decodeMessages, type Message } from './message.ts';
import { decodeNeighbour, type Neighbour } from './neighbour.ts';
import { decodeRoute, type Route } from './route.ts';
import { RTM, RTNLGRP } from './rtnetlink.ts';
import { hasCode, NETLINK_OPTIONS, type NetlinkSocket, uninterrupted } from './socket.ts';

/** What can be listened to, and what each event of it is about. */
export interface Topics {
  link: Link;
  address: Address;
  route: Route;
  neighbour: Neighbour;
}

/** Something came, changed (both are `new`) or went. */
export type Change<T extends keyof Topics = keyof Topics> = {
  [K in T]: { readonly topic: K; readonly change: 'new' | 'delete'; readonly object: Topics[K] };
}[T];

/** Events came faster than they were taken, and some are gone: what is known should be listed afresh. */
export interface Lost {
  readonly topic: 'lost';
}

/** linux/socket.h */
const AF_BRIDGE = 7;

interface Topic<T> {
  readonly groups: readonly number[];
  readonly new: number;
  readonly delete: number;
  readonly decode: (message: Message) => T;
}

const TOPICS: { readonly [K in keyof Topics]: Topic<Topics[K]> } = {
  link: { groups: [RTNLGRP.LINK], new: RTM.NEWLINK, delete: RTM.DELLINK, decode: decodeLink },
  address: {
    groups: [RTNLGRP.IPV4_IFADDR, RTNLGRP.IPV6_IFADDR],
    new: RTM.NEWADDR,
    delete: RTM.DELADDR,
    decode: decodeAddress,
  },
  route: {
    groups: [RTNLGRP.IPV4_ROUTE, RTNLGRP.IPV6_ROUTE],
    new: RTM.NEWROUTE,
    delete: RTM.DELROUTE,
    decode: decodeRoute,
  },
  neighbour: { groups: [RTNLGRP.NEIGH], new: RTM.NEWNEIGH, delete: RTM.DELNEIGH, decode: decodeNeighbour },
};

/**
 * Listens to what happens from this call on: `for await (const event of subscribe(socket, ['link']))`. It owns the
 * socket, which nothing else may use; the end of the loop, `using` and close() close it.
 */
export function subscribe<T extends keyof Topics>(socket: NetlinkSocket, topics: readonly T[]): Subscription<T> {
  for (const group of topics.flatMap(topic => TOPICS[topic].groups)) {
    socket.setOption(NETLINK_OPTIONS.ADD_MEMBERSHIP, group);
  }
  return new Subscription(socket, topics);
}

export class Subscription<T extends keyof Topics> implements AsyncIterable<Change<T> | Lost>, Disposable {
  readonly #socket: NetlinkSocket;
  readonly #topics: readonly T[];

  constructor(socket: NetlinkSocket, topics: readonly T[]) {
    this.#socket = socket;
    this.#topics = topics;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Change<T> | Lost, void> {
    try {
      // One datagram for each turn of the event loop: a flood of events leaves room for others.
      while (await this.#socket.readable()) yield* this.#receive();
    } finally {
      this.close();
    }
  }

  close(): void {
    this.#socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #receive(): (Change<T> | Lost)[] {
    try {
      const datagram = uninterrupted(() => this.#socket.receive(0));
      return datagram ? decodeMessages(datagram).flatMap(message => this.#changesOf(message)) : [];
    } catch (error) {
      if (!hasCode(error, 'ENOBUFS')) throw error;
      return [{ topic: 'lost' }];
    }
  }

  /** What a message tells: one change, or none if it is not of our topics. */
  #changesOf(message: Message): Change<T>[] {
    const topic = this.#topics.find(name => TOPICS[name].new === message.type || TOPICS[name].delete === message.type);
    if (topic === undefined || isAboutBridgePort(message)) return [];
    const change = message.type === TOPICS[topic].new ? 'new' : 'delete';
    return [{ topic, change, object: TOPICS[topic].decode(message) } as Change<T>];
  }
}

/**
 * A bridge tells about its ports in link messages too, and one that leaves it looks like a link that goes. The link's
 * own message, with a new master, tells the same.
 */
function isAboutBridgePort({ type, body }: Message): boolean {
  return (type === RTM.NEWLINK || type === RTM.DELLINK) && body[0] === AF_BRIDGE;
}
