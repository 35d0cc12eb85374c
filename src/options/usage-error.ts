/** Options that can't be followed. The message is one line for the person who wrote them. */
export class UsageError extends Error {
  override name = 'UsageError';
}

/** A value that its option doesn't take. The message starts with a verb: the option's name goes before it. */
export class ValueError extends Error {
  override name = 'ValueError';
}

/**
 * The usual ValueError: `takes yes or no, not "maybe"`.
 * @param what - what the option takes
 * @param text - what was given instead; shown in quotes with control characters escaped, so the message stays one line
 */
export function takes(what: string, text: string): ValueError {
  return new ValueError(`takes ${what}, not ${JSON.stringify(text)}`);
}

/** Runs `parse`, and puts the option's name before what it says of a bad value. Throws UsageError. */
export function namingOption<Value>(option: string, parse: () => Value): Value {
  try {
    return parse();
  } catch (error) {
    if (error instanceof ValueError) throw new UsageError(`${option} ${error.message}`);
    throw error;
  }
}
