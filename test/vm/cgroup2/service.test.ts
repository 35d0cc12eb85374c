/** nspawn in units of systemd: readiness, socket activation, and the journal of a container that the host can read. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { busyboxTree, debianTree } from '../../support/tree.ts';
import { inMachine, sh } from '../support.ts';

const it = inMachine();

const UNITS = '/run/systemd/system';
const ID = '0123456789abcdef0123456789abcdef';

it('a unit is up when the container says so, and its journal is read here', () => {
  const tree = '/var/lib/machines/noted';
  sh(`mkdir -p /var/lib/machines /var/log/journal; cp -a ${debianTree()} ${tree}; echo ${ID} >${tree}/etc/machine-id`);
  try {
    const run = 'nspawn -q -b -M noted --notify-ready=yes --link-journal=host --console=read-only';
    sh(`systemd-run --unit=noted --service-type=notify -p TimeoutStartSec=300 ${run}`);
    assert.is(sh('systemctl is-active noted'), 'active');
    assert.match(sh('systemctl show --value -p StatusText noted'), /^Container running: \S/);
    assert.match(sh('nspawn exec noted -- systemctl is-active multi-user.target </dev/null || :'), /^active$/);
    const entry = 'said by the container';
    sh(`nspawn exec noted -- sh -c 'echo "${entry}" | systemd-cat -t test; journalctl --sync' </dev/null`);
    for (const where of [`-D /var/log/journal/${ID}`, '-M noted', '-m']) {
      assert.is(sh(`journalctl ${where} -t test -o cat`), entry, where);
    }
    sh('nspawn poweroff noted && nspawn wait noted');
    assert.match(sh(`journalctl -D /var/log/journal/${ID} -o cat | tail -n 5`), /Journal stopped/);
  } finally {
    sh(`systemctl stop noted 2>/dev/null; rm -rf --one-file-system ${tree} /var/log/journal/${ID}`);
  }
});

it('a container is started by a connection to a socket', () => {
  mkdirSync(UNITS, { recursive: true });
  writeFileSync(`${UNITS}/answer.socket`, '[Socket]\nListenStream=127.0.0.1:7999\nAccept=yes\n');
  const script = `sh -c 'read line <&3; echo "$$LISTEN_FDS $$LISTEN_PID $$LISTEN_FDNAMES $$line" >&3'`;
  const run = `/usr/local/bin/nspawn -q -P -D ${busyboxTree()} --read-only -M answer --timezone=off --resolv-conf=off`;
  writeFileSync(`${UNITS}/answer@.service`, `[Service]\nExecStart=${run} -- ${script}\n`);
  sh('systemctl daemon-reload; systemctl start answer.socket');
  try {
    const answer = sh('exec 5<>/dev/tcp/127.0.0.1/7999; echo words >&5; cat <&5');
    assert.is(answer, '1 1 connection words');
  } finally {
    sh('systemctl stop answer.socket');
  }
});

test.run();
