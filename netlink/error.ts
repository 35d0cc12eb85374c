/** Every error that this folder raises on purpose is one of these. */
export class NetlinkError extends Error {
  override name = 'NetlinkError';
}

/** Received bytes that do not have the shape they should have. */
export class MalformedMessageError extends NetlinkError {
  override name = 'MalformedMessageError';
  /** Where in the received datagram the fault is, in bytes from its start. */
  readonly offset: number;

  constructor(offset: number, why: string) {
    super(`malformed netlink message at byte ${offset}: ${why}`);
    this.offset = offset;
  }
}

/** A value handed in by the caller that cannot be put into a message. */
export class InvalidValueError extends NetlinkError {
  override name = 'InvalidValueError';
}

/** The kernel's answer did not come, or was lost on the way. */
export class NoAnswerError extends NetlinkError {
  override name = 'NoAnswerError';
}

/** Does `work`, and puts the name of the value in front of a complaint about it. */
export function naming(name: string, work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof InvalidValueError)) throw error;
    throw new InvalidValueError(`${name}: ${error.message}`);
  }
}
