/** A limit that can't be set here: the message tells why, and what would help. */
export class LimitError extends Error {
  override name = 'LimitError';
}
