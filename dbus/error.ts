/** What the peer says of a call that it has refused. */
export class DbusError extends Error {
  override name = 'DbusError';
  /** Such as org.freedesktop.DBus.Error.AccessDenied. */
  readonly code: string;

  constructor(code: string, message: string) {
    super(message === '' ? code : message);
    this.code = code;
  }
}

/** There is no bus to talk to: it could not be reached, has not let us in, has hung up, or doesn't answer in time. */
export class NoBusError extends Error {
  override name = 'NoBusError';
}

/** Bytes that are no message: whatever comes after them can't be read, either. */
export class MalformedMessageError extends Error {
  override name = 'MalformedMessageError';
}
