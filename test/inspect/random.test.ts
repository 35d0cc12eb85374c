/** Disks with tables thrown together: whatever is on them, what is told of them hangs together, and can be shown. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FLAGS, type Flag, partitionTypes, type SuperblockType } from '../../gpt/index.ts';
import { USAGES } from '../../gpt/superblock.ts';
import { dissect } from '../../src/image/dissect.ts';
import { varUuid } from '../../src/image/var-uuid.ts';
import { reportOf } from '../../src/inspect/report.ts';
import { describeReport } from '../../src/inspect/text.ts';
import { contentOf, gptDisk, HOST, type Made } from '../image/support.ts';
import { createRandom, type Random } from '../support/random.ts';

const ROUNDS = 300;
const CONTENTS = [...(Object.keys(USAGES) as SuperblockType[]), 'ext4', 'ext4', 'vfat', 'nothing'] as const;
const LABELS = ['', 'root', '\x1b[2J', 'ä\u202e\n"', '\ud83d', 'x'.repeat(36)];
const LIKELY = [
  'root-x86-64',
  'root-x86',
  'usr-x86-64',
  'home',
  'srv',
  'var',
  'tmp',
  'esp',
  'xbootldr',
  'linux-generic',
];
const TYPES = [...partitionTypes().map(({ name }) => name), '11111111-2222-3333-4444-555555555555'];

function anyPartition(random: Random): Made {
  return {
    type: random.pick(random.oneIn(3) ? TYPES : LIKELY),
    ...(random.oneIn(2) && { id: varUuid(HOST.machineId!) }),
    name: random.pick(LABELS),
    attributes: random.oneIn(2) ? [] : [random.pick(Object.keys(FLAGS) as Flag[])],
    holds: random.oneIn(10) ? { fault: 'signatures of two' } : random.pick(CONTENTS),
  };
}

for (const [name, seed] of [
  ['few partitions', 1],
  ['more', 2],
] as const) {
  test(name, async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const random = createRandom(seed * 1_000_000 + round);
      const partitions = Array.from({ length: random.below(6 * seed) }, () => anyPartition(random));
      const disk = await gptDisk(...partitions);
      if (random.oneIn(8)) disk.whole = contentOf(random.pick(CONTENTS));
      const what = `seed ${seed}, round ${round}`;
      const { mounts, notMounted, refusal } = dissect(disk, HOST);

      const numbers = [...mounts, ...notMounted].flatMap(({ number }) => number ?? []);
      assert.equal(
        numbers.sort((a, b) => a - b),
        partitions.map((_, index) => index + 1),
        `${what}: each partition is mounted, or has a reason`,
      );
      assert.ok(
        notMounted.every(({ reason }) => reason.length > 0),
        what,
      );
      const places = mounts.map(({ mountPoint }) => mountPoint);
      assert.is(new Set(places).size, places.length, `${what}: each place is used once`);
      for (const [index, place] of places.entries()) {
        const later = places.slice(index);
        assert.not(
          later.some(other => other !== place && place.startsWith(other === '/' ? '/' : `${other}/`)),
          what,
        );
      }
      if (refusal === undefined) assert.ok(places.includes('/') || places.includes('/usr'), `${what}: there is a root`);

      const report = reportOf('image', disk, { mounts, notMounted, refusal }, []);
      for (const line of describeReport(report, 80)) {
        assert.not.match(line, /[\p{C}]/u, what);
        assert.ok(line.length <= 80, `${what}: ${line}`);
      }
    }
  });
}

test.run();
