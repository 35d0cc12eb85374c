/**
 * Koffi, the foreign function interface, from its npm package. In the one-file executable scripts/build.ts puts
 * koffi-embedded.ts in this module's place.
 */
import { createRequire } from 'node:module';

export type Koffi = Omit<typeof import('koffi'), 'default'>;

let koffi: Koffi | undefined;

/** Koffi, loaded at the first call. Throws when the package koffi, or its native part for this machine, is missing. */
export function loadKoffi(): Koffi {
  koffi ??= createRequire(import.meta.url)('koffi') as Koffi;
  return koffi;
}
