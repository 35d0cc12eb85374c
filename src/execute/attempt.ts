/** Work whose errors tell what was being done. */
import { AgentDiedError } from '../../syscalls/agent/agent.ts';
import type { Call } from '../../syscalls/call.ts';
import { SyscallError } from '../../syscalls/syscall.ts';

/** A step's failure: what was being done and why it failed. `cause` is the error of the call that failed. */
export class StepError extends Error {
  constructor(doing: string, cause: unknown) {
    super(`${doing}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

/** Does some work. Throws StepError, AgentDiedError as it is. */
export function attempt<Result>(doing: string, work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    throw error instanceof AgentDiedError ? error : new StepError(doing, error);
  }
}

/** Calls that together do one thing. */
export interface Piece {
  doing: string;
  calls: readonly Call[];
}

/** Does several things in one batch, which `run` runs. Throws StepError for the one that failed, other errors as they are. */
export function runPieces<Result>(pieces: readonly Piece[], run: (calls: readonly Call[]) => Result): Result {
  try {
    return run(pieces.flatMap(({ calls }) => calls));
  } catch (error) {
    const failed = error instanceof SyscallError && pieces.find(({ calls }) => calls.includes(error.call));
    throw failed ? new StepError(failed.doing, error) : error;
  }
}
