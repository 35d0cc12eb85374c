/** After a container the host is as it was before, however the container has ended. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { needs, root, tool } from '../support/needs.ts';
import { busybox } from '../support/tree.ts';
import { inEmptyMachine } from './empty-machine.ts';

needs([root, busybox, tool('unshare')])('no mount, process, descriptor, link or temporary file is left', () => {
  const left = inEmptyMachine('test/alone/leaving.ts') as Record<string, string[]>;
  assert.ok(Object.keys(left).length > 20);
  for (const [kind, things] of Object.entries(left)) assert.equal(things, [], kind);
});

test.run();
