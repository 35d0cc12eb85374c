/** `nspawn wait`: waits for a container's end. */
import { untilReadable } from '../../../syscalls/readiness.ts';
import { containerNamed, openContainer } from '../../container/record.ts';
import { onlyName, readWords, type Verb } from './verb.ts';

const VERB: Verb<object> = {
  usage: 'nspawn wait NAME',
  about: 'Wait until a container has ended.',
  options: [],
};

export async function run(words: readonly string[]): Promise<number> {
  const rest = readWords(VERB, words, {});
  if (!rest) return 0;
  using container = openContainer(containerNamed(onlyName('wait', rest)));
  // A pidfd can be read when its process has ended: pidfd_open(2).
  await untilReadable(container.fd);
  return 0;
}
