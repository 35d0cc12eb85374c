/** `nspawn wait`: waits for a container's end. */
import { untilReadable } from '../../../syscalls/readiness.ts';
import { containerNamed, openContainer, openRecord, untilReleased } from '../../container/record.ts';
import { onlyName, readWords, type Verb } from './verb.ts';

const VERB: Verb<object> = {
  usage: 'nspawn wait NAME',
  about: 'Wait until a container has ended, or restarts.',
  options: [],
};

export async function run(words: readonly string[]): Promise<number> {
  const rest = readWords(VERB, words, {});
  if (!rest) return 0;
  const record = containerNamed(onlyName('wait', rest));
  using file = openRecord(record.pid);
  using container = openContainer(record);
  // A pidfd can be read when its process has ended: pidfd_open(2).
  await untilReadable(container.fd);
  // Its tree is locked, and more of it is there, until nspawn has noticed.
  if (file) untilReleased(file);
  return 0;
}
