/** What --template= and --ephemeral make before the first container starts, and what restarted ones find again. */
import { checkTree } from '../execute/check-tree.ts';
import type { OpenImage } from '../image/open.ts';
import type { Logger } from '../log.ts';
import type { ContainerOptions } from '../options.ts';
import { imageOf } from '../plan/image.ts';
import { planContainer } from '../plan/plan.ts';
import type { Plan } from '../plan/steps.ts';
import { viewRoot } from '../root-view.ts';
import type { EphemeralUsers } from '../users/ephemeral.ts';
import type { EphemeralRoot } from './ephemeral.ts';
import type { Progress } from './template.ts';

/** To be disposed of when the last container on it has ended. */
export interface PreparedRoot extends Disposable {
  /** The options for all containers on it. */
  options: ContainerOptions;
  ephemeral?: EphemeralRoot;
  /** An ephemeral one. */
  image?: OpenImage;
  /** Resolves when the kernel has let go of a disk image, once this was disposed of. */
  released?: () => Promise<void>;
}

/**
 * Makes the root of containers with these options, one after another. `progress` is told of a copy now and then.
 * Rejects with an Error; nothing is left then.
 */
export async function prepareRoot(options: ContainerOptions, log: Logger, progress?: Progress): Promise<PreparedRoot> {
  const plan = await planContainer(options, 'streams', await imageOf(options));
  // All of them have the name that it was given.
  const named = { ...options, machine: plan.machine };
  const hasRights = !plan.users?.maps;
  const { settleEphemeral } = plan.ephemeral && plan.users && hasRights ? await import('../users/ephemeral.ts') : {};
  const settleUsers = settleEphemeral && ((root: number) => settleEphemeral({ ...plan, users: plan.users! }, root));
  if (plan.isImage) {
    if (!plan.ephemeral) return { options, [Symbol.dispose]() {} };
    using made = new DisposableStack();
    const { openEphemeralImage } = await import('./ephemeral-image.ts');
    let users: EphemeralUsers | undefined;
    const settle =
      settleUsers &&
      ((root: number) => {
        users = made.use(settleUsers(root));
        return users.owners;
      });
    const image = made.use(await openEphemeralImage(plan, log, settle));
    const held = made.move();
    return {
      options: { ...named, ...users?.options },
      image,
      released: () => image.released(log),
      [Symbol.dispose]: () => held.dispose(),
    };
  }
  {
    using view = viewRoot(plan.template ?? plan.directory);
    checkTree(plan, view);
  }
  if (options.template !== undefined) await makeDirectory(plan, options, log, progress);
  if (!plan.ephemeral) return { options, [Symbol.dispose]() {} };
  using made = new DisposableStack();
  if (!hasRights) {
    const { makeEphemeralRootWithoutRoot } = await import('./ephemeral-without-root.ts');
    const ephemeral = made.use(makeEphemeralRootWithoutRoot(plan, log));
    const held = made.move();
    return { options: named, ephemeral, [Symbol.dispose]: () => held.dispose() };
  }
  const { makeEphemeralRoot } = await import('./ephemeral.ts');
  using tree = viewRoot(plan.directory);
  const users = settleUsers && made.use(settleUsers(tree.fd));
  const ephemeral = made.use(makeEphemeralRoot(plan.directory, log, users?.owners));
  const held = made.move();
  return {
    options: { ...named, ...users?.options },
    ephemeral,
    [Symbol.dispose]: () => held.dispose(),
  };
}

/** Makes the root directory from the template, if it is missing. */
async function makeDirectory(
  { directory, template }: Plan,
  options: ContainerOptions,
  log: Logger,
  progress: Progress | undefined,
): Promise<void> {
  const { populate } = await import('./template.ts');
  const readOnly = options.readOnly ?? false;
  if (template !== undefined && (await populate({ template, directory, readOnly }, log, progress))) {
    log.info(`Populated ${directory} from template ${template}.`);
  } else {
    log.info(`Directory ${directory} already exists, not populating from template ${options.template}.`);
  }
}
