/** The steps of a container from an image: one that fails, and mount points that can be elsewhere. */
import { mkdirSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { startContainer } from '../../src/container/start.ts';
import { ended } from '../../src/container/wait.ts';
import type { SpawnOptions } from '../../src/index.ts';
import { silentLogger } from '../../src/log.ts';
import { imageOf } from '../../src/plan/image.ts';
import { buildPlan } from '../../src/plan/plan.ts';
import { must, type Plan, type Step } from '../../src/plan/steps.ts';
import { containerView } from '../../src/root-view.ts';
import { SIG } from '../../syscalls/constants.ts';
import { signalProcess } from '../../syscalls/process.ts';
import { needs, root } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox, busyboxTree, copyTree } from '../support/tree.ts';
import { assertReleased, busyboxDisk, loopsOf, makeDisk, makes, off, ROOT } from './images.ts';

const it = needs([root, busybox, ...makes('ext4')]);
const directory = temporaryDirectory();
test.after(() => directory[Symbol.dispose]());
const nothing = openSync('/dev/null', 'r+');

const planOf = async (options: SpawnOptions): Promise<Plan> => {
  const all = { ...off, command: ['/bin/sleep', '1000'], ...options };
  return buildPlan(all, 'streams', await imageOf(all));
};

/** Starts a plan, looks at the container, and ends it; resolves when its image is free. */
async function during<Result>(plan: Plan, look: (pid: number) => Result): Promise<Result> {
  const { pid, pidfd, resources, released } = await startContainer(plan, {
    log: silentLogger,
    streams: { fds: [nothing, nothing, nothing] },
    runInTree: () => Promise.reject(new Error('none')),
  });
  try {
    return look(pid);
  } finally {
    signalProcess(pidfd, SIG.KILL);
    await ended(pidfd);
    resources.dispose();
    await released?.();
  }
}

it('a step that fails stops the start, whichever it is, and lets go of the image', async () => {
  const image = busyboxDisk(join(directory.path, 'steps.raw'));
  const impossible = must({ do: 'mount', type: 'no-such-file-system', path: '/', options: [], attributes: 0 });
  const binds = [{ source: '+/home', destination: '/mnt', readOnly: true, recursive: true }];
  for (const options of [
    { image, binds },
    { image, volatile: 'yes' },
    { image, volatile: 'overlay' },
  ] as const) {
    const plan = await planOf(options as SpawnOptions);
    for (let n = 0; n <= plan.steps.length; n++) {
      const steps = plan.steps.toSpliced(n, 0, impossible);
      const message = await during({ ...plan, steps }, () => 'it has started').catch((error: Error) => error.message);
      assert.match(message, /^mounting no-such-file-system on \/: [^\n]*No such device \(ENODEV\)$/, `step ${n}`);
      assert.equal(loopsOf(image), [], `step ${n}`);
    }
  }
  await assertReleased(image);
});

// Not every kernel has vfat, and an EFI system partition is always that: so another partition takes its place.
it('an EFI system partition is on /efi, or on /boot if only that is there, and empty', async () => {
  const cases: [string[], string][] = [
    [[], '/efi'],
    [['efi'], '/efi'],
    [['boot'], '/boot'],
    [['efi', 'boot'], '/efi'],
    [['boot', 'boot/loader'], '/efi'],
  ];
  for (const [directories, expected] of cases) {
    using tree = copyTree(busyboxTree());
    for (const path of directories) mkdirSync(join(tree.path, path));
    const partitions = [
      { type: ROOT, holds: 'ext4', tree: tree.path },
      { type: 'srv', holds: 'ext4' },
    ];
    const image = makeDisk(join(directory.path, 'efi.raw'), partitions);
    const plan = await planOf({ image });
    const elsewhere = (step: Step): Step =>
      step.action.do === 'mount partition'
        ? { ...step, action: { ...step.action, path: '/efi', fallback: '/boot' } }
        : step;
    const found = await during({ ...plan, steps: plan.steps.map(elsewhere) }, pid => {
      using container = containerView(pid);
      return ['/efi', '/boot'].filter(path => container.has(`${path}/srv`));
    });
    assert.equal(found, [expected], directories.join(' '));
    rmSync(image);
  }
});

test.run();
