/** Labels of SELinux on a host that has it, -Z and -L, beside systemd-nspawn; and starts where it is enforced. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { busyboxTree } from '../../support/tree.ts';
import { ends, inMachine, sh } from '../support.ts';

const it = inMachine();

const PROCESSES = 'unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023';
/** With a comma, as mount options must not have one. */
const FILES = 'system_u:object_r:tmpfs_t:s0:c1,c2';
const OPTIONS = '--timezone=off --resolv-conf=off --machine=labelled --console=pipe -q';
const on = (options: string, command: string) =>
  `-D ${busyboxTree()} --read-only ${OPTIONS} ${options} -- ${command} </dev/null`;
const nspawn = (options: string, command: string) => sh(`nspawn ${on(options, command)}`);
const theirs = (options: string, command: string) =>
  sh(`systemd-nspawn --register=no --keep-unit ${on(options, command)} 2>/dev/null`);

const LABEL = 'cat /proc/self/attr/current';
const labelOf = (text: string) => text.replaceAll('\0', '').trim();

it('SELinux is there, and permissive', () => {
  assert.is(sh('getenforce'), 'Permissive');
});

it('processes have the label of -Z', () => {
  for (const options of ['', '--as-pid2', '--private-users=pick', '--private-network', '--no-new-privileges=yes']) {
    assert.is(labelOf(nspawn(`-Z ${PROCESSES} ${options}`, LABEL)), PROCESSES, options);
  }
  assert.is.not(labelOf(nspawn('', LABEL)), PROCESSES);
  assert.is(labelOf(theirs(`-Z ${PROCESSES}`, LABEL)), PROCESSES);
});

it('so has what nspawn exec runs there', () => {
  const run = `nspawn ${on(`-Z ${PROCESSES}`, "sh -c 'while :; do sleep 0.1; done'")}`;
  const exec = `until nspawn list | grep -q labelled; do sleep 0.2; done; nspawn exec labelled -- ${LABEL} </dev/null`;
  assert.is(labelOf(sh(`${run} >/dev/null & ${exec}; nspawn kill labelled; wait`)), PROCESSES);
});

/** The mount points whose file systems have the label, sorted; those in /proc are files of /dev. */
const LABELLED = `sh -c 'grep "context=[^ ]*${FILES.replace(',', '[^ ]*')}" /proc/self/mountinfo | cut -d" " -f5 | grep -v ^/proc | sort'`;

it('file systems in memory and terminals have the label of -L', () => {
  const options = `-L ${FILES} --tmpfs=/tmp --bind=:/home`;
  assert.is(nspawn(options, LABELLED), '/dev\n/dev/pts\n/dev/shm\n/home\n/run\n/tmp');
  assert.is(nspawn(`${options} --private-users=pick`, LABELLED), '/dev\n/dev/pts\n/dev/shm\n/home\n/run\n/tmp');
  assert.is(nspawn('', LABELLED), '');
  const real = theirs(`-L ${FILES}`, LABELLED).split('\n');
  for (const each of ['/dev', '/dev/pts', '/run']) assert.ok(real.includes(each), `${each} is not in ${real}`);
});

it('so has the terminal', () => {
  const show = `sh -c 'grep -c " /dev/console .*context=.*tmpfs_t" /proc/self/mountinfo'`;
  const on = (options: string) =>
    `-D ${busyboxTree()} --read-only ${OPTIONS} --console=read-only ${options} -- ${show}`;
  assert.is(sh(`nspawn ${on(`-L ${FILES}`)} </dev/null`), '1\r');
  assert.is(ends(`nspawn ${on('')} </dev/null`).stdout, '0\r\n');
});

it('an empty root has it, too', () => {
  const run = `nspawn -D / --volatile=yes ${OPTIONS} -L ${FILES} -- ${LABELLED} </dev/null`;
  assert.match(sh(run), /^\/$/m);
});

it('where the policy is enforced, memory that was written to is not executed', () => {
  for (const options of ['', '-U --console=read-only', '--private-network -a']) {
    const run = `runcon unconfined_u:unconfined_r:unconfined_t:s0 nspawn ${on(options, 'id -u')}`;
    assert.is(sh(`setenforce 1; ${run}; status=$?; setenforce 0; exit $status`).trim(), '0');
  }
  assert.match(sh('journalctl -k -o cat'), /avc: +denied +{ execmem }/, 'it is not forbidden here');
});

it('labels that the policy does not know are refused', () => {
  const processes = ends(`nspawn ${on('-Z nonsense', 'true')}`);
  assert.is(processes.status, 1);
  assert.match(processes.stderr, /^setting the SELinux context nonsense: write\(.*: Invalid argument \(EINVAL\)\n$/);
  const files = ends(`nspawn ${on('-L nonsense', 'true')}`);
  assert.is(files.status, 1);
  assert.match(files.stderr, /^mounting tmpfs on \/dev \(.*context=nonsense\): .*Invalid argument \(EINVAL\)\n$/);
});

test.run();
