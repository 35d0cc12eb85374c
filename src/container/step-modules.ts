/** What the steps of only some plans need: loaded for those. */
import type { Agent } from '../../syscalls/agent/agent.ts';
import type { Setup } from '../execute/setup.ts';
import type { Logger } from '../log.ts';
import type { InterfaceAction, Plan, StepAction } from '../plan/steps.ts';
import type { IdsOfHost } from '../users/namespace.ts';
import type { Started } from '../users/start.ts';

const INTERFACES: InterfaceAction['do'][] = ['move interface', 'make veth link', 'make macvlan', 'make ipvlan'];

/** Those that users who are the host's have. */
const IDS_OF_HOST = { base: 0, count: 0x10000 };

interface Loading {
  /** The container's own agent. */
  agent: Agent;
  /** With users of its own: both agents, and their ids. */
  agents: Started | undefined;
  ids: IdsOfHost | undefined;
  keep: DisposableStack;
  log: Logger;
}

type StepModules = Pick<
  Setup,
  'imageSteps' | 'bringLoopbackUp' | 'connectUserNetwork' | 'linkJournal' | 'network' | 'idmapBind' | 'writeUserRecords'
>;

export async function loadStepModules(
  { steps, isImage }: Plan,
  { agent, agents, ids, keep, log }: Loading,
): Promise<StepModules> {
  const has = (kind: StepAction['do']) => steps.some(({ action }) => action.do === kind);
  const hasIdmaps = steps.some(({ action }) => action.do === 'bind' && action.idmap);
  const bound = agents?.bound ?? [];
  const { IMAGE_STEPS: imageSteps } = isImage ? await import('../execute/image-steps.ts') : {};
  const { bringLoopbackUp } = has('bring loopback up') ? await import('../execute/loopback.ts') : {};
  const { connectUserNetwork } = has('connect network') ? await import('../network/user-network.ts') : {};
  const { linkJournal } = has('link journal') ? await import('../execute/link-journal.ts') : {};
  const { openNetwork } = INTERFACES.some(has) ? await import('../network/network.ts') : {};
  const { idmapBindFor } = hasIdmaps ? await import('../users/bind-idmap.ts') : {};
  const { recordWriter } = bound.length > 0 ? await import('../execute/user-records.ts') : {};
  return {
    imageSteps,
    bringLoopbackUp,
    connectUserNetwork,
    linkJournal,
    network: openNetwork?.({ agent, outside: agents?.outside, keep, log }),
    idmapBind: idmapBindFor?.(ids ?? IDS_OF_HOST),
    writeUserRecords: recordWriter?.(bound),
  };
}
