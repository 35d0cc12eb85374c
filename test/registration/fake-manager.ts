/**
 * Plays systemd-machined and systemd on a bus: prints each call as a line of JSON, and answers.
 *
 *     fake-manager.ts ADDRESS [silent | error CODE TEXT | taken TIMES | stop | spoof | move SCOPE | other]
 *
 * `other` has another machine of the same name at the end.  * `move` has the container in a cgroup of that name, as systemd does; `spoof` has somebody else ask it to stop.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import process from 'node:process';
import { type Message, TYPES, type Value } from '../../dbus/index.ts';
import { connectTo } from '../dbus/support.ts';
import { managedCgroups } from './support.ts';

const [address = '', behaviour = '', ...words] = process.argv.slice(2);
const JOB = '/org/freedesktop/systemd1/job/1';
const MACHINE = '/org/freedesktop/machine1/machine/name';

const bus = connectTo(address);
bus.requestName('org.freedesktop.machine1');
bus.requestName('org.freedesktop.systemd1');
console.log('ready');

let leader = 0;
let refusals = behaviour === 'error' ? Number.POSITIVE_INFINITY : behaviour === 'taken' ? Number(words[0]) : 0;
const [code, text] = behaviour === 'taken' ? ['org.freedesktop.machine1.MachineExists', 'It exists'] : words;

/** What each method answers: signature and values. */
const ANSWERS: Record<string, (call: Message) => [signature: string, body: Value[]]> = {
  CreateMachineWithNetwork: created,
  RegisterMachineWithNetwork: created,
  StartTransientUnit: () => ['o', [JOB]],
  GetMachine: () => ['o', [MACHINE]],
  Get: () => ['v', [{ signature: 'u', value: behaviour === 'other' ? 1 : leader }]],
};

function created({ body }: Message): [string, Value[]] {
  leader = body[4] as number;
  return ['o', [MACHINE]];
}

/** Bytes as hexadecimal digits, long numbers as text. */
const plain = (_: string, value: unknown) => {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  return typeof value === 'bigint' ? `${value}` : value;
};

while (await bus.readable()) {
  for (let message = bus.next(0); message; message = bus.next(0)) if (message.type === TYPES.methodCall) take(message);
}

function take(call: Message): void {
  const { member, signature, path, body, sender } = call;
  const pid = member === 'StartTransientUnit' ? pidOf(body) : Number(body[4]);
  const seen = pid > 0 ? { leader: pid, interfaces: interfaces() } : {};
  console.log(JSON.stringify({ member, path, interface: call.interface, signature, body, sender, ...seen }, plain));
  if (behaviour === 'silent') return;
  const answer = { destination: sender!, replySerial: call.serial };
  if (refusals > 0) {
    refusals--;
    bus.send({ ...answer, type: TYPES.error, errorName: code!, signature: 's', body: [text!] });
    return;
  }
  if (behaviour === 'move' && signature?.startsWith('sayss')) move(pid);
  const [type, values] = ANSWERS[member!]?.(call) ?? ['', []];
  bus.send({ ...answer, type: TYPES.methodReturn, signature: type, body: values });
  if (member === 'StartTransientUnit') setTimeout(endJobs, 200, pid);
  if ((behaviour === 'stop' || behaviour === 'spoof') && signature?.startsWith('sayss')) {
    const scope = { path: '/org/freedesktop/systemd1/unit/x', interface: 'org.freedesktop.systemd1.Scope' };
    const request = { ...scope, type: TYPES.signal, destination: sender!, member: 'RequestStop', body: [] };
    const from = behaviour === 'stop' ? bus : connectTo(address);
    setTimeout(() => from.send(request), 300);
  }
}

/** What systemd does some time after it has answered: the job of somebody else has failed. */
function endJobs(pid: number): void {
  if (behaviour === 'move') move(pid);
  const manager = { path: '/org/freedesktop/systemd1', interface: 'org.freedesktop.systemd1.Manager' };
  for (const job of ['/org/freedesktop/systemd1/job/2', JOB]) {
    const result = job === JOB ? 'done' : 'failed';
    bus.send({ ...manager, type: TYPES.signal, member: 'JobRemoved', signature: 'uoss', body: [1, job, 'x', result] });
  }
}

function move(pid: number): void {
  for (const directory of managedCgroups()) {
    mkdirSync(`${directory}/${words[0]}`, { recursive: true });
    writeFileSync(`${directory}/${words[0]}/cgroup.procs`, `${pid}`);
  }
}

/** The host's network interfaces by their indices. */
function interfaces(): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of readdirSync('/sys/class/net')) {
    try {
      found[readFileSync(`/sys/class/net/${name}/ifindex`, 'utf8').trim()] = name;
    } catch {
      // Another container's link, gone since the directory was read.
    }
  }
  return found;
}

function pidOf(body: readonly Value[]): number {
  const properties = body[2] as [name: string, { value: Value }][];
  const [pid] = properties.find(([name]) => name === 'PIDs')![1].value as number[];
  return pid!;
}
