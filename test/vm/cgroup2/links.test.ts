/** Links of all kinds, as `ip` has them: other kernels lack some, and skip what is about them. */
import { test } from 'uvu';
import { inVm } from '../../support/vm/needs.ts';
import { inMachine, sh } from '../support.ts';

inMachine()('this kernel has all kinds', () => {
  sh('modprobe --all dummy ifb ipvlan macvtap 8021q vxlan');
});

if (inVm() === undefined) await import('../../netlink/links.test.ts');
else test.run();
