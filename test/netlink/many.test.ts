/** Answers of the real kernel that are too long for one datagram. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { dumpAddresses, newAddress, newLink } from '../../netlink/index.ts';
import { needs, root, tool } from '../support/needs.ts';
import { Namespace } from './namespace.ts';

needs([root, tool('ip'), tool('nsenter')])('a long list comes whole, and as ip has it', () => {
  using namespace = new Namespace();
  using connection = namespace.connect();
  connection.execute(newLink({ kind: 'veth', name: 've0', index: 20 }));
  for (let n = 0; n < 1000; n++) {
    connection.execute(newAddress({ index: 20, address: `10.0.${n >> 8}.${n & 255}`, prefixLength: 32 }));
  }
  const ours = connection.dump(dumpAddresses({ index: 20 })).map(({ address }) => address);
  const [link] = namespace.ipJson('address show dev ve0');
  const theirs = (link!['addr_info'] as { local: string }[]).map(({ local }) => local);
  assert.is(ours.length, 1000);
  assert.equal(ours, theirs);
});

test.run();
