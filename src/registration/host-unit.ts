/**
 * The unit that a container is in for the host's service manager, and the machine that it is for systemd-machined: see
 * org.freedesktop.machine1(5) and org.freedesktop.systemd1(5).
 */
import {
  type Connection,
  DbusError,
  MalformedMessageError,
  type MethodCall,
  NoBusError,
  type Value,
} from '../../dbus/index.ts';
import { sleep } from '../../syscalls/process.ts';
import { perform, SyscallError } from '../../syscalls/syscall.ts';
import type { Usage } from '../container/usage.ts';
import { readIfThere } from '../host.ts';
import type { Logger } from '../log.ts';
import type { Registration } from '../plan/registration.ts';

const MACHINED = {
  destination: 'org.freedesktop.machine1',
  path: '/org/freedesktop/machine1',
  interface: 'org.freedesktop.machine1.Manager',
} as const;
const SYSTEMD = {
  destination: 'org.freedesktop.systemd1',
  path: '/org/freedesktop/systemd1',
  interface: 'org.freedesktop.systemd1.Manager',
} as const;

/** What machinectl shows as the program that runs the machine, and as what the machine is. */
const SERVICE = 'nspawn';
const CLASS = 'container';
/** Where machines are that ask for no slice: systemd.special(7). */
const IN_MACHINE_SLICE: [string, string, Value] = ['Slice', 's', 'machine.slice'];

/** Errors that mean that there is nobody who could do it: not running, not installed, something else, or not for us. */
const NOBODY = [
  /^org\.freedesktop\.DBus\.Error\.(ServiceUnknown|NameHasNoOwner|NoReply|Disconnected|TimedOut|Spawn\..*)$/,
  /^org\.freedesktop\.DBus\.Error\.(UnknownMethod|UnknownObject|UnknownInterface)$/,
  /^org\.freedesktop\.DBus\.Error\.(AccessDenied|InteractiveAuthorizationRequired)$/,
  /^org\.freedesktop\.systemd1\.(NoSuchUnit|UnitMasked|LoadFailed|ShuttingDown)$/,
];
/** Errors of a name that is taken, which may be by a container that was just killed or is being restarted. */
const TAKEN = ['org.freedesktop.machine1.MachineExists', 'org.freedesktop.systemd1.UnitExists'];
/** How long such a predecessor gets to vanish, in steps of so many milliseconds. */
const PREDECESSOR = { step: 50, steps: 60 } as const;
/** How long a job of systemd's may take. */
const JOB_TIMEOUT = 90_000;

/** A container that the host's service manager knows of. */
export interface HostUnit extends Disposable {
  /** Calls back, at any time from now on, when the service manager wants the container to end. */
  whenAskedToStop(stop: () => void): void;
  /** For a scope with limits: what has been used so far. */
  usage?: () => Usage;
}

/**
 * Makes a container that is known by its first process known to others. Undefined, and told at debug level, if there is
 * nobody to tell and nobody insists. To be disposed of when the container has ended. Throws an Error.
 */
export function register(
  bus: Connection,
  registration: Registration,
  { machine, pid }: { machine: string; pid: number },
  log: Logger,
): HostUnit | undefined {
  try {
    waitingForPredecessor(() => METHODS[registration.as](bus, registration, machine, pid));
  } catch (error) {
    if (registration.isRequired || !isNobody(error)) throw error;
    tellNobody(error, log);
    return undefined;
  }
  return {
    whenAskedToStop: stop => void watchRequests(bus, stop, log),
    [Symbol.dispose]: () => takeBack(bus, registration, machine, pid, log),
  };
}

/** Says why a container goes without; louder if somebody was waited for in vain. */
function tellNobody(error: unknown, log: Logger): void {
  const level = error instanceof NoBusError ? 'warn' : 'debug';
  log[level](`the container is not registered: ${(error as Error).message}`);
}

function isNobody(error: unknown): boolean {
  if (error instanceof DbusError) return NOBODY.some(code => code.test(error.code));
  return [NoBusError, MalformedMessageError, SyscallError].some(kind => error instanceof kind);
}

type Register = (bus: Connection, registration: Registration, machine: string, pid: number) => void;

const METHODS: Readonly<Record<Registration['as'], Register>> = {
  machine(bus, registration, machine, pid) {
    bus.call({
      ...MACHINED,
      member: 'CreateMachineWithNetwork',
      signature: 'sayssusaia(sv)',
      arguments: [...description(registration, machine, pid), properties(bus, registration)],
    });
  },
  unit(bus, registration, machine, pid) {
    bus.call({
      ...MACHINED,
      member: 'RegisterMachineWithNetwork',
      signature: 'sayssusai',
      arguments: description(registration, machine, pid),
    });
  },
  scope(bus, registration, machine, pid) {
    bus.subscribe(`type='signal',sender='${SYSTEMD.destination}',interface='${SYSTEMD.interface}',member='JobRemoved'`);
    const own: [string, string, Value][] = [
      ['PIDs', 'au', [pid]],
      ['Description', 's', `Container ${machine}`],
      ['Delegate', 'b', true],
      ['CollectMode', 's', 'inactive-or-failed'],
      ...(registration.properties.some(({ name }) => name === 'Slice') ? [] : [IN_MACHINE_SLICE]),
    ];
    const all = [
      ...own.map(([name, signature, value]) => [name, { signature, value }] as const),
      ...properties(bus, registration),
    ];
    const [job] = bus.call({
      ...SYSTEMD,
      member: 'StartTransientUnit',
      signature: 'ssa(sv)a(sa(sv))',
      arguments: [`${machine}.scope`, 'fail', all, []],
    });
    waitForJob(bus, job);
  },
};

const NO_ID = '0'.repeat(32);

/** What machined wants to know of each machine. */
function description(
  { machineId = NO_ID, directory, hostInterface }: Registration,
  machine: string,
  pid: number,
): Value[] {
  const id = Buffer.from(machineId, 'hex');
  return [machine, id, SERVICE, CLASS, pid, directory, hostInterface === undefined ? [] : [indexOf(hostInterface)]];
}

/** Of a(sv). The name on the bus is whom systemd asks when the scope is to end. */
const properties = (bus: Connection, registration: Registration): Value[] =>
  [{ name: 'Controller', signature: 's', value: bus.name }, ...registration.properties].map(
    ({ name, signature, value }) => [name, { signature, value }],
  );

function indexOf(networkInterface: string): number {
  const index = readIfThere(`/sys/class/net/${networkInterface}/ifindex`);
  if (!index) throw new Error(`the host has no network interface ${networkInterface}`);
  return Number(index.toString());
}

function waitForJob(bus: Connection, job: Value | undefined): void {
  const deadline = performance.now() + JOB_TIMEOUT;
  for (;;) {
    const message = bus.next(Math.max(0, deadline - performance.now()));
    if (!message) throw new Error(`systemd has not made the scope unit within ${JOB_TIMEOUT / 1000} s`);
    // JobRemoved: id, job, unit, result
    const [, removed, unit, result] = message.body;
    if (message.member !== 'JobRemoved' || removed !== job) continue;
    if (result !== 'done') throw new Error(`systemd could not start ${unit}: ${result}`);
    return;
  }
}

function waitingForPredecessor(work: () => void): void {
  for (let step = 0; step < PREDECESSOR.steps; step++) {
    try {
      work();
      return;
    } catch (error) {
      if (!(error instanceof DbusError) || !TAKEN.includes(error.code)) throw error;
      perform(sleep(PREDECESSOR.step));
    }
  }
  work();
}

/** Nobody is kept waiting longer at a container's end. */
const END_TIMEOUT = 5000;

/** What nobody does by itself, or not at once. Mostly it is done already, so failures are told at debug level only. */
function takeBack(bus: Connection, { as }: Registration, machine: string, pid: number, log: Logger): void {
  // The scope ends with its last process.
  if (as === 'scope') return;
  try {
    const call = (method: MethodCall) => bus.call(method, END_TIMEOUT);
    const [path] = call({ ...MACHINED, member: 'GetMachine', signature: 's', arguments: [machine] });
    const its = { destination: MACHINED.destination, path: String(path) };
    const [leader] = call({ ...its, ...PROPERTY, arguments: ['org.freedesktop.machine1.Machine', 'Leader'] });
    // Somebody else has the name by now.
    if ((leader as { value: Value }).value !== pid) return;
    call(END[as](its, machine));
  } catch (error) {
    log.debug(`ending the registration of ${machine}: ${(error as Error).message}`);
  }
}

const PROPERTY = { interface: 'org.freedesktop.DBus.Properties', member: 'Get', signature: 'ss' };
const END = {
  machine: (its: { destination: string; path: string }): MethodCall => ({
    ...its,
    interface: 'org.freedesktop.machine1.Machine',
    member: 'Terminate',
  }),
  // To terminate it would be to stop the unit that we are in.
  unit: (_: unknown, machine: string): MethodCall => ({
    ...MACHINED,
    member: 'UnregisterMachine',
    signature: 's',
    arguments: [machine],
  }),
} as const;

/** systemd leaves the orderly end of a scope to its controller. */
async function watchRequests(bus: Connection, stop: () => void, log: Logger): Promise<void> {
  try {
    while (await bus.readable()) {
      for (let message = bus.next(0); message; message = bus.next(0)) {
        if (message.interface !== 'org.freedesktop.systemd1.Scope' || message.member !== 'RequestStop') continue;
        // Anybody can send us signals.
        if (message.sender === bus.ownerOf(SYSTEMD.destination)) stop();
      }
    }
  } catch (error) {
    log.debug(`listening to the system bus: ${(error as Error).message}`);
  }
}
