/** nspawn@.service, the unit that make install installs. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { debianTree } from '../../support/tree.ts';
import { eventually, isGone, isListed, property } from '../machines.ts';
import { ends, inMachine, sh } from '../support.ts';

const it = inMachine();
const UNIT = 'nspawn@unit';

test.before(() => {
  sh(`mkdir -p /var/lib/machines && cp -a --reflink=auto ${debianTree()} /var/lib/machines/unit`);
});
test.after(() => {
  ends(`systemctl kill --signal=KILL ${UNIT}; rm -rf /var/lib/machines/unit`);
});

it('it is active when the container is, says how it does, and stops it in order', async () => {
  sh(`systemctl start ${UNIT}`);
  assert.is(property(UNIT, 'ActiveState'), 'active');
  assert.match(property(UNIT, 'StatusText'), /^Container running/);
  assert.ok(isListed('unit'));
  assert.match(sh('machinectl status unit'), /Unit: nspawn@unit\.service/);
  await eventually('it is up', () =>
    /^(running|degraded)$/m.test(ends('nspawn exec unit -- systemctl is-system-running </dev/null').stdout),
  );
  // What is in the container's journal the host can read.
  await eventually('its journal is there', () => /Reached target/.test(ends('journalctl -M unit --no-pager').stdout));
  sh(`systemctl stop ${UNIT}`);
  assert.equal([property(UNIT, 'Result'), property(UNIT, 'ExecMainStatus')], ['success', '0']);
  await isGone('unit');
  assert.is(ends('ip link show ve-unit').status, 1);
});

it('when the container reboots, the unit starts again', async () => {
  sh(`systemctl start ${UNIT}`);
  const first = property(UNIT, 'MainPID');
  await eventually('it is up', () =>
    /^(running|degraded)$/m.test(ends('nspawn exec unit -- systemctl is-system-running </dev/null').stdout),
  );
  ends('nspawn exec unit -- systemctl reboot </dev/null');
  await eventually('another nspawn runs it', () => {
    const now = property(UNIT, 'MainPID');
    return now !== first && now !== '0' && property(UNIT, 'ActiveState') === 'active';
  });
  sh(`systemctl stop ${UNIT}`);
  await isGone('unit');
});

test.run();
