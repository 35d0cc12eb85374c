/** What nspawn does besides running containers: `nspawn VERB …`, if the verb is the first word. */

/** Resolves to the exit status. Rejects with an Error of one line. */
type Run = (words: readonly string[]) => Promise<number>;

/** Each is loaded when it is asked for. */
const VERBS: Readonly<Record<string, () => Promise<{ run: Run }>>> = {
  exec: () => import('./verbs/exec.ts'),
  inspect: () => import('../inspect/main.ts'),
  kill: () => import('./verbs/kill.ts'),
  list: () => import('./verbs/list.ts'),
  poweroff: () => import('./verbs/poweroff.ts'),
  wait: () => import('./verbs/wait.ts'),
};

/** What a word asks for; undefined if it is no verb. */
export const findVerb = (word = ''): (() => Promise<{ run: Run }>) | undefined =>
  Object.hasOwn(VERBS, word) ? VERBS[word] : undefined;
