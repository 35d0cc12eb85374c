import { CONTAINER } from './options/container.ts';
import { ISOLATION } from './options/isolation.ts';
import type { Section } from './options/row.ts';
import { SURROUNDINGS } from './options/surroundings.ts';

/** All options, in the sections of the help. The parser, the help and cac's declarations are made from this table. */
export const sections: readonly Section[] = [...CONTAINER, ...ISOLATION, ...SURROUNDINGS];
