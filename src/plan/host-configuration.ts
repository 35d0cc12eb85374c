/** What the container takes over of the host's configuration: the time zone and the DNS servers. */
import { hostHas, readLink } from '../host.ts';
import type { ContainerOptions, Timezone } from '../options.ts';
import type { RootView } from '../root-view.ts';
import { type PlanPart, type Step, should } from './steps.ts';

const NOTHING: PlanPart = { hostObjects: {}, before: [], steps: [] };
const steps = (...list: Step[]): PlanPart => ({ ...NOTHING, steps: list });

/** Binds a file of the host, read-only. */
const bound = (from: string, path: string): PlanPart => ({
  hostObjects: {
    [`the host's ${from}`]: { kind: 'tree', path: from, inRoot: false, recursive: false, readOnly: true },
  },
  before: [],
  steps: [should({ do: 'bind', object: `the host's ${from}`, path })],
});

const LOCALTIME = '/etc/localtime';

/**
 * Steps for --timezone=. A time zone never fails a start. `tree` is what the container's root is made of, if it has
 * the tree's /etc.
 */
export function timezone(mode: Timezone, readOnly: boolean, tree: RootView | undefined): PlanPart {
  const zone = hostZone();
  switch (mode) {
    case 'off':
      return NOTHING;
    case 'auto':
      if (!hostHas(LOCALTIME) || (zone && zoneOf(tree?.readLink(LOCALTIME)) === zone)) return NOTHING;
      return timezone(readOnly ? 'bind' : zone ? 'symlink' : 'copy', readOnly, tree);
    case 'delete':
      return steps(should({ do: 'remove', path: LOCALTIME }));
    case 'symlink':
      if (!zone) return NOTHING;
      return steps(should({ do: 'link time zone', zone }));
    case 'copy':
      return steps(should({ do: 'copy file', from: LOCALTIME, path: LOCALTIME, replace: true }));
    case 'bind':
      return bound(LOCALTIME, LOCALTIME);
  }
}

/** The host's time zone, such as Europe/Berlin; undefined where /etc/localtime is no link to one. */
const hostZone = () => zoneOf(readLink(LOCALTIME));

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
  { resolvConf = 'auto', privateNetwork }: ContainerOptions,
  readOnly: boolean,
): PlanPart {
  if (resolvConf === 'off') return NOTHING;
  if (resolvConf === 'delete') return steps(should({ do: 'remove', path: RESOLV_CONF }));
  if (resolvConf === 'auto') {
    // With a private network the host's servers can't be reached.
    if (privateNetwork) return NOTHING;
    // The stub's file is there exactly while systemd-resolved runs.
    const kind = hostHas(RESOLVER_FILES.stub) ? 'stub' : 'host';
    if (!hostHas(RESOLVER_FILES[kind])) return NOTHING;
    return resolverConfiguration({ resolvConf: `${readOnly ? 'bind' : 'copy'}-${kind}` }, readOnly);
  }
  const [how, kind] = resolvConf.split('-') as ['copy' | 'replace' | 'bind', keyof typeof RESOLVER_FILES];
  const from = RESOLVER_FILES[kind];
  if (how === 'bind') return bound(from, RESOLV_CONF);
  return steps(should({ do: 'copy file', from, path: RESOLV_CONF, replace: how === 'replace' }));
}
