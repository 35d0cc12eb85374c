/** D-Bus without any runtime's help: messages, and a connection over a socket that is handed in. */
export { socketNames } from './address.ts';
export { Connection, type MethodCall } from './connection.ts';
export { DbusError, MalformedMessageError, NoBusError } from './error.ts';
export { decodeMessage, encodeMessage, type Message, TYPES } from './message.ts';
export type { StreamSocket } from './socket.ts';
export type { Value, Variant } from './value.ts';
