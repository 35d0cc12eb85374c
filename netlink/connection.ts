import { type Acknowledgement, decodeAcknowledgement, KernelError } from './acknowledgement.ts';
import { NoAnswerError } from './error.ts';
import {
  decodeMessages,
  encodeRequest,
  type Message,
  NLM_F,
  NLMSG,
  NLMSG_MIN_TYPE,
  type Query,
  type Request,
} from './message.ts';
import { hasCode, NETLINK_OPTIONS, type NetlinkSocket, uninterrupted } from './socket.ts';

/** How often a question is asked whose answer gets lost or is overtaken by changes. */
const ATTEMPTS = 10;

/** All that answered a request. */
interface Answer {
  messages: Message[];
  /** What ended it: an acknowledgement, or for a single object the object itself. */
  end: Acknowledgement | undefined;
  /** Why it cannot be relied on. */
  flaw: string | undefined;
}

/** Whether a message is the last that answers a request. */
type IsLast = (message: Message) => boolean;
const isAcknowledgement: IsLast = message => message.type === NLMSG.ERROR;
const isEndOfDump: IsLast = message => message.type === NLMSG.DONE || message.type === NLMSG.ERROR;
const isAnything: IsLast = () => true;

/**
 * Asks the kernel and waits for its answers, one request at a time. It owns the socket: `using` closes it. What comes
 * unasked is for `subscribe`, with a socket of its own.
 */
export class Connection implements Disposable {
  readonly #socket: NetlinkSocket;
  readonly #timeout: number;
  #sequence = 0;

  /** @param timeout milliseconds that an answer may take. */
  constructor(socket: NetlinkSocket, { timeout = 5000 }: { timeout?: number } = {}) {
    this.#socket = socket;
    this.#timeout = timeout;
    for (const option of [NETLINK_OPTIONS.EXT_ACK, NETLINK_OPTIONS.CAP_ACK, NETLINK_OPTIONS.GET_STRICT_CHK]) {
      socket.setOption(option, 1);
    }
  }

  /**
   * Has the kernel change something. It is asked once only: a lost answer leaves open whether the change was made.
   * @throws KernelError if it refuses, NoAnswerError, MalformedMessageError, and what the socket throws.
   */
  execute(request: Request): void {
    const { end, flaw } = this.#ask(request, isAcknowledgement);
    if (!end) throw new NoAnswerError(`cannot tell whether it worked to ${request.action}: ${flaw}`);
    if (end.errno !== 0) throw new KernelError(request, end);
  }

  /** Asks for one object. Throws as `execute` does. */
  get<T>(query: Query<T>): T {
    const [message] = this.#askAgain(query, isAnything).messages;
    if (!message) throw new NoAnswerError(`cannot ${query.action}: the kernel answered without telling`);
    return query.decode(message);
  }

  /** Asks for all objects; again, if they changed meanwhile and the list may be wrong. Throws as `execute` does. */
  dump<T>(query: Query<T>): T[] {
    const { messages } = this.#askAgain(query, isEndOfDump);
    return messages.map(message => query.decode(message));
  }

  close(): void {
    this.#socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Asks what can be asked twice until there is an answer to rely on. */
  #askAgain(request: Request, isLast: IsLast): Answer {
    let flaw: string | undefined;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const answer = this.#ask(request, isLast);
      if (answer.end && answer.end.errno !== 0) throw new KernelError(request, answer.end);
      if (answer.flaw === undefined) return answer;
      flaw = answer.flaw;
    }
    throw new NoAnswerError(`cannot ${request.action}: ${flaw}, ${ATTEMPTS} times`);
  }

  #ask(request: Request, isLast: IsLast): Answer {
    const socket = this.#socket;
    this.#sequence = (this.#sequence % 0xffff_ffff) + 1;
    const sequence = this.#sequence;
    const bytes = encodeRequest(request, sequence, socket.port);
    uninterrupted(() => socket.send(bytes));

    const answer: Answer = { messages: [], end: undefined, flaw: undefined };
    const deadline = performance.now() + this.#timeout;
    for (;;) {
      const datagram = this.#receive(answer, deadline);
      if (!datagram && answer.flaw !== undefined) return answer;
      if (!datagram) throw new NoAnswerError(`cannot ${request.action}: no answer within ${this.#timeout} ms`);
      // What does not match answers an earlier request, which was given up.
      const own = decodeMessages(datagram).filter(({ sequence: s, port }) => s === sequence && port === socket.port);
      for (const message of own) {
        note(answer, message);
        if (isLast(message)) return answer;
      }
    }
  }

  /**
   * The next datagram; undefined if there is none in time. Once something was lost there is no use in waiting: what is
   * still to come is there already, as the kernel answers within send(), and goes on with a list within receive().
   */
  #receive(answer: Answer, deadline: number): Uint8Array | undefined {
    for (let losses = 0; losses < ATTEMPTS; losses++) {
      const timeout = answer.flaw === LOST ? 0 : Math.max(0, deadline - performance.now());
      try {
        return uninterrupted(() => this.#socket.receive(timeout));
      } catch (error) {
        if (!hasCode(error, 'ENOBUFS')) throw error;
        answer.flaw = LOST;
      }
    }
    return undefined;
  }
}

const LOST = 'the answer was lost, as the socket had no room for it';
const CHANGED = 'things changed while they were being listed';

/** Takes one message into an answer. */
function note(answer: Answer, message: Message): void {
  if (message.type === NLMSG.OVERRUN) answer.flaw = LOST;
  if (message.flags & NLM_F.DUMP_INTR) answer.flaw ??= CHANGED;
  const acknowledgement = decodeAcknowledgement(message);
  if (acknowledgement) answer.end = acknowledgement;
  else if (message.type >= NLMSG_MIN_TYPE) answer.messages.push(message);
}
