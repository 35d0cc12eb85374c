import { NSPAWN_PROGRAM } from '../tables/nspawn-program.ts';
import type { HostArchitecture } from './nspawn-filter.ts';

/**
 * The program of nspawnFilter(host): what compile() makes of it, made beforehand. In a JavaScript runtime that has just
 * started, the first compilation takes about two milliseconds, more than starting a container; this takes a tenth of one.
 */
export function nspawnProgram(host: HostArchitecture): Uint8Array {
  // The words are little-endian, as all machines that there is a filter for.
  return new Uint8Array(new Uint32Array(NSPAWN_PROGRAM[host]).buffer);
}
