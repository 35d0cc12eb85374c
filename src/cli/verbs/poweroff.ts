/** `nspawn poweroff`: asks a container's init to shut down. */
import { signalProcess } from '../../../syscalls/process.ts';
import { containerNamed, openContainer } from '../../container/record.ts';
import { onlyName, readWords, type Verb } from './verb.ts';

const VERB: Verb<object> = {
  usage: 'nspawn poweroff NAME',
  about: 'Ask the init of a container to shut down; see nspawn wait for its end.',
  options: [],
};

export async function run(words: readonly string[]): Promise<number> {
  const rest = readWords(VERB, words, {});
  if (!rest) return 0;
  const record = containerNamed(onlyName('poweroff', rest));
  using container = openContainer(record);
  if (record.killSignal === undefined)
    throw new Error(`shutting down ${record.machine}: it runs no init that could be asked; see nspawn kill`);
  signalProcess(container.fd, record.killSignal);
  return 0;
}
