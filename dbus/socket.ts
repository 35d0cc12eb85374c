/**
 * What this folder needs of a connected AF_UNIX stream socket. It is made elsewhere. What a call refuses is an Error with
 * the name of the error number as its `code` (`EPIPE`).
 */
export interface StreamSocket {
  /** Sends all of it. */
  send(bytes: Uint8Array): void;

  /**
   * Waits at most `timeout` milliseconds (0: not at all) and returns what has come, which belongs to the caller: nothing
   * (no bytes) at the stream's end, undefined if nothing came in time.
   */
  receive(timeout: number): Uint8Array | undefined;

  /** Waits, without holding up the event loop, for something to receive: true. False once it is closed. */
  readable(): Promise<boolean>;

  /** May be called more than once, and while `readable` waits. */
  close(): void;
}
