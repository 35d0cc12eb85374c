/**
 * What types the library's options have, for programs that no compiler has checked: a value of another one is refused in
 * words, and so is an option that there isn't.
 */
import type { ExecOptions } from '../exec.ts';
import type { BindIdmap, ContainerOptions } from '../options.ts';
import type { SandboxOptions } from '../sandbox.ts';
import type { SpawnOptions } from '../spawn.ts';
import { parseLinkJournal, parseNetworkMode, parseResolvConf, parseTimezone, parseVolatile } from './modes.ts';
import { namingOption, UsageError } from './usage-error.ts';
import { parseOwnership, parsePrivateUsers } from './users.ts';

/** Refuses a value that is not of a kind. `name` is what the message calls it: `binds[0].source`. Throws UsageError. */
type Kind = (name: string, value: unknown) => void;

const kind =
  (what: string, fits: (value: unknown) => boolean): Kind =>
  (name, value) => {
    if (!fits(value)) throw refusal(name, what, value);
  };

const list =
  (of: Kind): Kind =>
  (name, value) => {
    if (!Array.isArray(value)) throw refusal(name, 'a list', value);
    for (const [i, each] of value.entries()) of(`${name}[${i}]`, each);
  };

/** An object with fields of these kinds, and perhaps some of the others. What else it has is left alone. */
const thing =
  (fields: Record<string, Kind>, others: Record<string, Kind> = {}): Kind =>
  (name, value) => {
    if (!isObject(value))
      throw refusal(name, `an object with ${Object.keys({ ...fields, ...others }).join(', ')}`, value);
    for (const [key, of] of Object.entries(fields)) of(`${name}.${key}`, value[key]);
    for (const [key, of] of Object.entries(others)) if (value[key] !== undefined) of(`${name}.${key}`, value[key]);
  };

/** The same of plain data, which has nothing else: a field of another name would go unheard. */
const record =
  (fields: Record<string, Kind>, others: Record<string, Kind> = {}): Kind =>
  (name, value) => {
    thing(fields, others)(name, value);
    for (const key of Object.keys(value as object)) {
      if (!Object.hasOwn(fields, key) && !Object.hasOwn(others, key))
        throw new UsageError(`${name} has no field ${key}`);
    }
  };

/** An object with any names, and values of a kind. */
const values =
  (of: Kind): Kind =>
  (name, value) => {
    if (!isObject(value)) throw refusal(name, 'an object', value);
    for (const [key, each] of Object.entries(value)) of(`${name}.${key}`, each);
  };

/** A word that `parse` leaves as it is. */
const word =
  (parse: (text: string) => unknown): Kind =>
  (name, value) => {
    text(name, value);
    const parsed = namingOption(name, () => parse(value as string));
    if (parsed !== value) throw refusal(name, JSON.stringify(parsed), value);
  };

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isNumber = (value: unknown) => typeof value === 'number' && !Number.isNaN(value);

const text = kind('a string', value => typeof value === 'string');
const number = kind('a number', isNumber);
const descriptor = kind('a descriptor', value => Number.isInteger(value) && (value as number) >= 0);
const yesNo = kind('true or false', value => typeof value === 'boolean');
const callable = kind('a function', value => typeof value === 'function');
const bytes = kind('a number of bytes', value => isNumber(value) && (value as number) >= 0);
const numberOrText = kind('a number or a string', value => isNumber(value) || typeof value === 'string');
const limit = kind("a bigint or 'infinity'", value => typeof value === 'bigint' || value === 'infinity');
const weight = kind("a number or 'idle'", value => isNumber(value) || value === 'idle');
const content = kind('a string or bytes', value => typeof value === 'string' || value instanceof Uint8Array);

const idmap = kind("'idmap', 'rootidmap' or 'owneridmap'", value => IDMAPS.includes(value));
const IDMAPS: unknown[] = ['idmap', 'rootidmap', 'owneridmap'] satisfies BindIdmap[];

const credential: Kind = (name, value) => {
  thing({ id: text })(name, value);
  record({ id: text, ...(Object.hasOwn(value as object, 'path') ? { path: text } : { value: content }) })(name, value);
};
const user: Kind = (name, value) =>
  (isObject(value) ? record({ uid: number, gid: number }, { name: text, home: text }) : text)(name, value);
const privateUsers: Kind = (name, value) =>
  isObject(value) ? record({ base: number, count: number })(name, value) : word(parsePrivateUsers)(name, value);
const open = thing({ fd: descriptor });
const stdio: Kind = (name, value) => {
  if (isObject(value)) thing({ console: open }, { devpts: open })(name, value);
  else if (Array.isArray(value) && value.length === 3) list(descriptor)(name, value);
  else kind("'pipe', 'pty', 'inherit' or three descriptors", each => STREAMS.includes(each))(name, value);
};
const STREAMS: unknown[] = ['pipe', 'pty', 'inherit'];

type Kinds<Options> = { readonly [Key in keyof Options]-?: Kind };

const CONTAINER: Kinds<ContainerOptions> = {
  command: list(text),
  directory: text,
  template: text,
  image: text,
  ephemeral: yesNo,
  readOnly: yesNo,
  volatile: word(parseVolatile),
  boot: yesNo,
  asPid2: yesNo,
  user,
  chdir: text,
  machine: text,
  hostname: text,
  uuid: text,
  environment: list(text),
  credentials: list(credential),
  files: list(record({ path: text }, { content, mode: number })),
  binds: list(record({ source: text, destination: text, readOnly: yesNo, recursive: yesNo }, { idmap })),
  tmpfs: list(record({ path: text, options: text })),
  tmpfsSize: numberOrText,
  overlays: list(record({ lower: list(text), destination: text, readOnly: yesNo }, { upper: text })),
  inaccessible: list(text),
  capabilities: list(text),
  dropCapabilities: list(text),
  bindUsers: list(text),
  noUserNamespaces: yesNo,
  ambientCapabilities: list(text),
  noNewPrivileges: yesNo,
  systemCallFilter: record({}, { allow: list(text), deny: list(text) }),
  confinedSockets: yesNo,
  suppressSync: yesNo,
  rlimits: list(record({ name: text, soft: limit, hard: limit })),
  oomScoreAdjust: number,
  cpuAffinity: list(number),
  memory: numberOrText,
  memorySwap: numberOrText,
  cpus: number,
  cpuWeight: weight,
  tasks: numberOrText,
  ioWeight: number,
  ioMax: list(record({ path: text }, { rbps: number, wbps: number, riops: number, wiops: number })),
  timeout: number,
  stats: yesNo,
  personality: text,
  killSignal: number,
  resolvConf: word(parseResolvConf),
  timezone: word(parseTimezone),
  privateUsers,
  usersOwnership: word(parseOwnership),
  privateNetwork: yesNo,
  network: word(parseNetworkMode),
  shareSystem: yesNo,
  notifyReady: yesNo,
  notifySocket: yesNo,
  networkInterfaces: list(text),
  networkMacvlans: list(text),
  networkIpvlans: list(text),
  networkVeth: yesNo,
  networkVethExtra: list(text),
  networkBridge: text,
  networkZone: text,
  networkNamespacePath: text,
  slice: text,
  properties: list(text),
  register: yesNo,
  keepUnit: yesNo,
  linkJournal: word(parseLinkJournal),
  selinuxContext: text,
  selinuxApifsContext: text,
};

const SPAWN: Kinds<SpawnOptions> = {
  ...CONTAINER,
  stdio,
  logger: thing({ trace: callable, debug: callable, info: callable, warn: callable, error: callable }),
  patience: number,
  listenFds: list(record({ fd: descriptor }, { name: text })),
  onNotification: callable,
  signal: kind('an AbortSignal', value => value instanceof AbortSignal),
};

const fileContent: Kind = (name, value) =>
  (isObject(value) && !(value instanceof Uint8Array) ? record({ content }, { mode: number }) : content)(name, value);

const SANDBOX: Kinds<SandboxOptions> = {
  command: list(text),
  stdin: content,
  files: values(fileContent),
  env: values(text),
  directory: text,
  readOnlyBinds: list(record({ source: text, destination: text })),
  timeout: number,
  memory: numberOrText,
  tasks: number,
  cpus: number,
  diskSize: numberOrText,
  outputSize: bytes,
  rlimits: CONTAINER.rlimits,
  requireLimits: yesNo,
  keepUnit: yesNo,
  asPid2: yesNo,
  signal: SPAWN.signal,
  logger: SPAWN.logger,
};

const EXEC: Kinds<ExecOptions> = { command: list(text), user: text, chdir: text, environment: list(text), stdio };

/** Refuses options of spawn() that have another type than they should. Throws UsageError. */
export const checkSpawnTypes = (options: unknown): void => check('spawn', options, SPAWN);
/** The same for those of sandbox(). */
export function checkSandboxTypes(options: unknown): void {
  check('sandbox', options, SANDBOX);
  SANDBOX.command('command', (options as SandboxOptions).command);
}
/** The same for those of exec(). */
export const checkExecTypes = (options: unknown): void => check('exec', options, EXEC);

function check(name: string, options: unknown, kinds: Readonly<Record<string, Kind>>): void {
  if (!isObject(options)) throw refusal(name, 'an object with options', options);
  for (const [key, value] of Object.entries(options)) {
    if (value === undefined) continue;
    if (!Object.hasOwn(kinds, key)) throw new UsageError(`${name} has no option ${key}`);
    kinds[key]!(key, value);
  }
}

/** What is in a list or an object isn't shown: it may be long, or a secret. */
function refusal(name: string, what: string, value: unknown): UsageError {
  const shown = Array.isArray(value) ? 'a list' : isObject(value) ? 'an object' : shortly(value);
  return new UsageError(`${name} takes ${what}, not ${shown}`);
}

const shortly = (value: unknown): string => {
  if (typeof value === 'string') return JSON.stringify(value);
  return typeof value === 'function' ? 'a function' : String(value);
};
