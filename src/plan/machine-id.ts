/** machine-id(5) of the host, and of trees. */
import { readIfThere } from '../host.ts';
import type { RootView } from '../root-view.ts';

/** 32 hexadecimal digits; undefined if the file has none, as before a first boot. */
const parseMachineId = (text: string | undefined): string | undefined =>
  /^[0-9a-f]{32}$/i.exec(text?.trim() ?? '')?.[0].toLowerCase();

export const hostMachineId = (): string | undefined => parseMachineId(readIfThere('/etc/machine-id')?.toString());

/** A tree's machine id; undefined if it has none that can be read. */
export function machineIdOf(view: RootView): string | undefined {
  try {
    return parseMachineId(view.readText('/etc/machine-id'));
  } catch {
    // No regular file, or one of gigabytes: what isn't an id is none.
    return undefined;
  }
}
