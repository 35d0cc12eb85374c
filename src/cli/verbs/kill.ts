/** `nspawn kill`: sends a container's first process a signal. */
import { SIG } from '../../../syscalls/constants.ts';
import { signalProcess } from '../../../syscalls/process.ts';
import { containerNamed, openContainer } from '../../container/record.ts';
import { parseSignal } from '../../options/signals.ts';
import { onlyName, readWords, type Verb } from './verb.ts';

interface Draft {
  signal: number;
}

const VERB: Verb<Draft> = {
  usage: 'nspawn kill [--signal=SIGNAL] NAME',
  about: 'Send the first process of a container a signal, by default SIGKILL: all of the container ends then.',
  options: [
    {
      letter: 's',
      name: 'signal',
      value: 'SIGNAL',
      help: 'Such as TERM, SIGRTMIN+3 or 15',
      set: (draft, value) => (draft.signal = parseSignal(value)),
    },
  ],
};

export async function run(words: readonly string[]): Promise<number> {
  const draft: Draft = { signal: SIG.KILL };
  const rest = readWords(VERB, words, draft);
  if (!rest) return 0;
  using container = openContainer(containerNamed(onlyName('kill', rest)));
  signalProcess(container.fd, draft.signal);
  return 0;
}
