/** Resolves in the event loop's next turn, after timers, signals and descriptors have had theirs. */
export const nextTurn = (): Promise<void> =>
  new Promise(resolve => {
    setImmediate(resolve);
  });
