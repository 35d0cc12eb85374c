/** --network=user: the world as the user reaches it, and nothing of the host's loopback. */

import { createSocket, type Socket } from 'node:dgram';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { nspawn, startNspawn } from '../cli/support.ts';
import { eventually } from '../console/support.ts';
import { needs, root, tool } from '../support/needs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { busybox } from '../support/tree.ts';
import { type OrdinaryUser, ordinaryUser, subordinateIds, UID, userNamespaces } from './support.ts';

const address = Object.values(networkInterfaces())
  .flat()
  .find(each => each?.family === 'IPv4' && !each.internal)?.address;
const addressed = () => (address ? undefined : 'this machine has no IPv4 address');

const NEEDS = [root, busybox, tool('setpriv'), userNamespaces, addressed] as const;
const QUIET = ['-q', '-P', '--timezone=off', '--network=user'];

async function server(host: string): Promise<Server & { port: number }> {
  const listening = createServer(socket => socket.end('from the host\n')).listen(0, host);
  await new Promise(resolve => listening.once('listening', resolve));
  return Object.assign(listening, { port: (listening.address() as AddressInfo).port });
}

/** Where systemd-resolved's and others' servers are: on the loopback interface. */
const NAME_SERVER = '127.0.0.153';

/** Says that any name is 198.51.100.7: RFC 1035, 4.1. */
async function nameServer(): Promise<Socket> {
  const socket = createSocket('udp4');
  socket.on('message', (query, { port, address: asker }) => {
    const end = query.indexOf(0, HEADER) + 5;
    const header = Buffer.from([query[0]!, query[1]!, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    const answer = Buffer.from([0xc0, HEADER, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 198, 51, 100, 7]);
    socket.send(Buffer.concat([header, query.subarray(HEADER, end), answer]), port, asker);
  });
  await new Promise<void>(resolve => socket.bind(53, NAME_SERVER, resolve));
  return socket;
}
const HEADER = 12;

/** The commands that connect networks, as they are started for a user. */
const helpers = () =>
  readdirSync('/proc').filter(pid => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('10.0.2.100') || isSlirp(pid);
    } catch {
      // No process, or one that has ended.
      return false;
    }
  });
const isSlirp = (pid: string) =>
  readFileSync(`/proc/${pid}/comm`, 'utf8') === 'slirp4netns\n' &&
  readFileSync(`/proc/${pid}/status`, 'utf8').includes(`Uid:\t${UID}\t`);

/** A user who finds only this one of the commands. */
const withOnly = (user: OrdinaryUser, name: string) =>
  user.as(
    'sh',
    '-c',
    'mkdir -p ~/bin; for each in "$0" newuidmap newgidmap; do ln -sf $(command -v $each) ~/bin/; done 2>/dev/null; PATH=$HOME/bin exec "$@"',
    name,
    ...user.nspawn.slice(-2),
  );

for (const name of ['pasta', 'slirp4netns']) {
  for (const hasSubordinates of [false, true]) {
    const extra = hasSubordinates ? [tool('newuidmap'), subordinateIds] : [];
    needs([...NEEDS, tool(name), ...extra])(
      `with ${name}${hasSubordinates ? ' and subordinate ids' : ''}`,
      async () => {
        using user = ordinaryUser({ hasSubordinates });
        const [everywhere, loopback] = [await server('0.0.0.0'), await server('127.0.0.1')];
        try {
          const script = `
          sleep 2 | nc -w 5 ${address} ${everywhere.port}
          for target in 127.0.0.1 10.0.2.2; do
            nc -w 2 $target ${loopback.port} < /dev/null 2> /dev/null && echo reached $target
          done
          cat /etc/resolv.conf; ip -o -4 address show tap0 | grep -c 10.0.2.100/24`;
          const words = [...QUIET, '-D', user.tree, '--', '/bin/sh', '-c', script];
          const result = await nspawn(words, { command: withOnly(user, name), cwd: '/' });
          assert.equal(result, { status: 0, stdout: 'from the host\nnameserver 10.0.2.3\n1\n', stderr: '' });
          assert.equal(helpers(), []);
        } finally {
          everywhere.close();
          loopback.close();
        }
      },
    );
  }

  needs([...NEEDS, tool(name)])(`names are those that the host knows, with ${name}`, async () => {
    using user = ordinaryUser();
    using directory = temporaryDirectory();
    const configuration = join(directory.path, 'resolv.conf');
    writeFileSync(configuration, `nameserver ${NAME_SERVER}\n`);
    const socket = await nameServer();
    try {
      const mounting = `mount --bind ${configuration} /etc/resolv.conf && exec "$@"`;
      const command = ['unshare', '-m', 'sh', '-c', mounting, 'sh', ...withOnly(user, name)];
      const words = [...QUIET, '-D', user.tree, '--', '/bin/sh', '-c', 'nslookup -type=a some.example'];
      const { status, stdout, stderr } = await nspawn(words, { command, cwd: '/' });
      assert.equal([status, stderr], [0, '']);
      assert.match(stdout, /Address:\s+10\.0\.2\.3.*\n(.*\n)*Address:\s+198\.51\.100\.7\n/);
    } finally {
      socket.close();
    }
  });

  needs([...NEEDS, tool(name)])(`${name} ends after kill -9, too`, async () => {
    using user = ordinaryUser();
    const words = [...QUIET, '-D', user.tree, '--', '/bin/sh', '-c', 'echo ready; exec sleep 1000'];
    const running = startNspawn(words, { command: withOnly(user, name), cwd: '/' });
    await running.until('ready');
    assert.is(helpers().length, 1);
    running.child.kill('SIGKILL');
    await running.outcome;
    await eventually('it has ended', () => helpers().length === 0);
  });

  needs([...NEEDS, tool(name)])(
    `${name} is there until the container has ended, also after ^C at a terminal`,
    async () => {
      using user = ordinaryUser();
      const script = `trap 'ip -o -4 address show tap0 | grep -c 10.0.2.100; exit 3' TERM; echo ready; while :; do sleep 0.1; done`;
      const words = [...QUIET, '--kill-signal=TERM', '-D', user.tree, '--', '/bin/sh', '-c', script];
      const running = startNspawn(words, { command: ['setsid', ...withOnly(user, name)], cwd: '/' });
      await running.until('ready');
      // To its whole process group.
      process.kill(-running.child.pid!, 'SIGINT');
      const { status, stdout } = await running.outcome;
      assert.equal([status, stdout], [3, 'ready\n1\n']);
      assert.equal(helpers(), []);
    },
  );
}

needs([...NEEDS])('without either the network is a private one, and a warning says so', async () => {
  using user = ordinaryUser();
  const words = [...QUIET, '-D', user.tree, '--', '/bin/ls', '/sys/class/net'];
  const { status, stdout, stderr } = await nspawn(words, { command: withOnly(user, 'true'), cwd: '/' });
  assert.equal([status, stdout], [0, 'lo\n']);
  assert.match(stderr, /^--network=user takes pasta .* or slirp4netns, and neither is installed: .* a private one\n$/);
});

test.run();
