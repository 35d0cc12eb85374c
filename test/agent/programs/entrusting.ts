/**
 * Entrusts things to its janitor as it is told, a line each: `+WORD` to write the word to descriptor 5, `.WORD` to do
 * nothing, `-WORD` to take that back, `!PID` to kill a process, `=PATH` to become a shell at last that writes what it has
 * open and its blocked signals to a file, `=` to take that back, `exit` to end. Answers each with a line.
 */

import { openSync } from 'node:fs';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { type Entrusted, entrust, entrustSuccessor } from '../../../syscalls/agent/janitor.ts';
import { call } from '../../../syscalls/call.ts';
import { SIG } from '../../../syscalls/constants.ts';
import { openProcess } from '../../../syscalls/process.ts';

const entrusted = new Map<string, Entrusted>();

function obey(order: string): void {
  const what = order.slice(1);
  if (order.startsWith('+')) {
    const word = Buffer.from(`${what} `);
    entrusted.set(
      what,
      entrust([5], ([fd]) => [call('write', fd!, word, word.length)]),
    );
  } else if (order.startsWith('.')) {
    entrusted.set(
      what,
      entrust([], () => [call('getpid')]),
    );
  } else if (order.startsWith('-')) {
    entrusted.get(what)![Symbol.dispose]();
  } else if (order.startsWith('!')) {
    entrust([openProcess(Number(what))], ([pidfd]) => [call('pidfd_send_signal', pidfd!, SIG.KILL, null, 0)]);
  } else if (order.startsWith('=')) {
    const script = `exec >${what}.new; ls /proc/$$/fd; grep SigBlk /proc/self/status; mv ${what}.new ${what}`;
    entrustSuccessor(openSync('/bin/sh', 'r'), what ? ['sh', '-c', script] : []);
  } else {
    process.exit(0);
  }
}

createInterface(process.stdin).on('line', order => {
  obey(order);
  console.log('done');
});
