/** A limit that can't be set here: the message tells why, and what would help. */
export class LimitError extends Error {
  override name = 'LimitError';
  /** Whether no limit that takes a cgroup can be set. */
  readonly isAboutAll: boolean;

  constructor(message: string, { isAboutAll = false, ...options }: ErrorOptions & { isAboutAll?: boolean } = {}) {
    super(message, options);
    this.isAboutAll = isAboutAll;
  }
}
