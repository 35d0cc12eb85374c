/** Shifts a tree: PATH BASE. Prints whether there was anything to do. */
import { openSync } from 'node:fs';
import process from 'node:process';
import { silentLogger } from '../../../src/log.ts';
import { shiftTree } from '../../../src/users/shift-tree.ts';

const [path = '', base = ''] = process.argv.slice(2);
console.log(await shiftTree({ tree: openSync(path, 'r'), path, base: Number(base), count: 65536 }, silentLogger));
