/**
 * nspawn as a library: spawns containers from inside a program.
 *
 *     import { spawn } from 'nspawn';
 *     await using container = await spawn({ directory: '/', volatile: 'overlay', command: ['/bin/hostname'] });
 *     for await (const chunk of container.stdout!) process.stdout.write(chunk);
 *     const { exitStatus } = await container.exited;
 */
export type { ListenFd } from './container/listen-fds.ts';
export type { Notification } from './container/notifications.ts';
export { type ContainerRecord, listedContainers as containers } from './container/record.ts';
export type { Usage } from './container/usage.ts';
export { type ExecOptions, type Executed, exec } from './exec.ts';
export { LimitError } from './limit-error.ts';
export type { Logger, LogLevel } from './log.ts';
export { UsageError } from './options/usage-error.ts';
export type * from './options.ts';
export { type FileContent, type SandboxLimit, type SandboxOptions, type SandboxResult, sandbox } from './sandbox.ts';
export { type Container, type Ended, type SpawnOptions, type Stdio, spawn } from './spawn.ts';
