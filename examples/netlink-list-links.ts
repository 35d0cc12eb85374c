/**
 * Lists the network links of this machine with their addresses, as `ip address` does.
 *
 *     bun examples/netlink-list-links.ts
 */
import { Connection, dumpAddresses, dumpLinks } from '../netlink/index.ts';
import { openNetlink } from '../syscalls/netlink-socket.ts';

using connection = new Connection(openNetlink());
const addresses = connection.dump(dumpAddresses());
for (const { index, name, kind = '-', address = '-', mtu, flags } of connection.dump(dumpLinks())) {
  console.log(`${index}: ${name} ${kind} ${address} mtu ${mtu} ${flags.join(' ')}`);
  for (const own of addresses.filter(each => each.index === index)) {
    console.log(`    ${own.address}/${own.prefixLength} ${own.scope}`);
  }
}
