/** What the container takes over of the host's configuration: the time zone and the DNS servers. */
import { hostHas, readLink } from '../host.ts';
import type { ContainerOptions, Timezone } from '../options.ts';
import type { RootView } from '../root-view.ts';
import { NOTHING, type PlanPart, type Step, should } from './steps.ts';
import { USER_NETWORK } from './user-network.ts';

const steps = (...list: Step[]): PlanPart => ({ ...NOTHING, steps: list });

/** Binds something of the host, read-only. Where the host has no such thing, that is a warning when it comes to it. */
export function boundFromHost(from: string, path: string): PlanPart {
  const object = `the host's ${from}`;
  return {
    hostObjects: hostHas(from)
      ? { [object]: { kind: 'tree', path: from, inRoot: false, recursive: false, readOnly: true } }
      : {},
    before: [],
    steps: [should({ do: 'bind', object, path })],
  };
}

/** Nobody has asked for it: where it can't be done is no matter for a warning. */
const quietly = (part: PlanPart): PlanPart => ({
  ...part,
  steps: part.steps.map(step => ({ ...step, onFailure: 'debug' })),
});

const LOCALTIME = '/etc/localtime';

/**
 * Steps for --timezone=. A time zone never fails a start. `tree` is what the container's root is made of, if it has
 * the tree's /etc.
 */
export function timezone(mode: Timezone, readOnly: boolean, tree: RootView | undefined): PlanPart {
  switch (mode) {
    case 'off':
      return NOTHING;
    case 'auto': {
      if (!readOnly || tree) return timezone(automaticTimezone(readOnly, tree), readOnly, tree);
      // Only when an image is mounted does it show whether there is something to mount on.
      return quietly(boundFromHost(LOCALTIME, LOCALTIME));
    }
    case 'delete':
      return steps(should({ do: 'remove', path: LOCALTIME }));
    case 'symlink':
      return steps(should({ do: 'link time zone', zone: zoneOf(readLink(LOCALTIME)) }));
    case 'copy':
      return steps(should({ do: 'copy file', from: LOCALTIME, path: LOCALTIME, replace: true }));
    case 'bind':
      return boundFromHost(LOCALTIME, LOCALTIME);
  }
}

/** What 'auto' comes to. */
function automaticTimezone(readOnly: boolean, tree: RootView | undefined): Exclude<Timezone, 'auto'> {
  // Without this file it is UTC: localtime(5).
  if (!hostHas(LOCALTIME)) return readOnly ? 'off' : 'delete';
  const link = readLink(LOCALTIME);
  const zone = zoneOf(link);
  if (zone && zoneOf(tree?.readLink(LOCALTIME)) === zone) return 'off';
  // Where the tree can't be written, there must be something to mount on.
  if (readOnly) return tree?.has(LOCALTIME) ? 'bind' : 'off';
  return link === undefined ? 'copy' : 'symlink';
}

/** The time zone that a link of /etc/localtime stands for, such as Europe/Berlin. */
const zoneOf = (link: string | undefined) => /^(?:\.\.)?\/usr\/share\/zoneinfo\/(.+)$/.exec(link ?? '')?.[1];

const RESOLV_CONF = '/etc/resolv.conf';

/** Where each kind of DNS configuration comes from; see systemd-resolved.service(8). */
const RESOLVER_FILES = {
  host: RESOLV_CONF,
  static: '/usr/lib/systemd/resolv.conf',
  uplink: '/run/systemd/resolve/resolv.conf',
  stub: '/run/systemd/resolve/stub-resolv.conf',
} as const;

/** Steps for --resolv-conf=. */
export function resolverConfiguration(
  { resolvConf = 'auto', privateNetwork, network }: ContainerOptions,
  readOnly: boolean,
): PlanPart {
  if (resolvConf === 'off') return NOTHING;
  if (resolvConf === 'delete') return steps(should({ do: 'remove', path: RESOLV_CONF }));
  if (resolvConf === 'auto') {
    // The host's servers may be on its loopback interface.
    if (network === 'user' && !readOnly) {
      return steps(should({ do: 'write file', path: RESOLV_CONF, content: `nameserver ${USER_NETWORK.nameServer}\n` }));
    }
    // With a private network the host's servers can't be reached.
    if (privateNetwork) return NOTHING;
    // The stub's file is there exactly while systemd-resolved runs.
    const kind = hostHas(RESOLVER_FILES.stub) ? 'stub' : 'host';
    const isThere = hostHas(RESOLVER_FILES[kind]);
    // What is read-only may have no file to mount on.
    if (readOnly) return isThere ? quietly(boundFromHost(RESOLVER_FILES[kind], RESOLV_CONF)) : NOTHING;
    return resolverConfiguration({ resolvConf: isThere ? `copy-${kind}` : 'delete' }, readOnly);
  }
  const [how, kind] = resolvConf.split('-') as ['copy' | 'replace' | 'bind', keyof typeof RESOLVER_FILES];
  const from = RESOLVER_FILES[kind];
  if (how === 'bind') return boundFromHost(from, RESOLV_CONF);
  return steps(should({ do: 'copy file', from, path: RESOLV_CONF, replace: how === 'replace' }));
}
