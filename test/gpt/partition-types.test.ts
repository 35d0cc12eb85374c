/** The tables of partition types, held against those of systemd and fdisk. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { discoverableType, partitionType, partitionTypes } from '../../gpt/index.ts';
import { needs, tool } from '../support/needs.ts';
import { runOk } from './support.ts';

/** Of the specification, but not (yet) of each systemd: the names that stand for the own architecture. */
const ALIASES = /^(root|usr)(-secondary)?(-verity)?(-verity-sig)?$/;

needs([tool('systemd-id128')])('names and GUIDs are those of systemd', () => {
  const lines = runOk(['systemd-id128', 'show']).trim().split('\n').slice(1);
  const theirs = lines.map(line => line.split(/\s+/)).filter(([name]) => !ALIASES.test(name!));
  assert.ok(theirs.length > 100, `it knows ${theirs.length}`);
  for (const [name, id] of theirs) {
    assert.is(partitionType(name!)?.guid.replaceAll('-', ''), id, name);
  }
});

needs([tool('sfdisk')])('all types that fdisk lists are known', () => {
  const lines = runOk(['sfdisk', '--list-types', '--label', 'gpt']).split('\n').slice(2).filter(Boolean);
  assert.ok(lines.length > 100);
  for (const line of lines) {
    const guid = line.slice(0, 36);
    const known = partitionType(guid);
    assert.ok(known, line);
    assert.is(known.guid, guid.toLowerCase());
    // Its names are in words: "Linux root verity (ARM-64)".
    const role = /^Linux (root|\/usr)( verity)?( sign\.)?/.exec(line.slice(38));
    if (!role) continue;
    const [, tree, verity, signature] = role;
    assert.is(known.designator, tree!.replace('/', '') + (verity ? '-verity' : '') + (signature ? '-sig' : ''), line);
  }
});

test('each has one name and one GUID', () => {
  const types = partitionTypes();
  assert.is(new Set(types.map(({ guid }) => guid)).size, types.length);
  assert.is(new Set(types.map(({ name }) => name)).size, types.length);
  for (const { guid, name } of types) {
    assert.match(guid, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    assert.is(partitionType(guid.toUpperCase())?.name, name);
    assert.is(partitionType(name)?.guid, guid);
  }
});

test('what is for one architecture is found by it', () => {
  assert.is(discoverableType('root', 'x86-64'), '4f68bce3-e8cd-4db1-96e7-fbcaf984b709');
  assert.is(discoverableType('usr-verity-sig', 'sparc64'), '0bebc110-9e89-4e17-9e52-6f3973889b2b');
  assert.is(discoverableType('srv', 'arm'), '3b8f8425-20e0-4f3b-907f-1a25a76f98e8');
  const perArchitecture = partitionTypes().filter(({ architecture }) => architecture);
  assert.is(perArchitecture.length, 24 * 6);
  for (const { guid, name, designator, architecture } of perArchitecture) {
    assert.is(discoverableType(designator!, architecture!), guid);
    assert.is(name, designator!.replace(/^(root|usr)/, `$1-${architecture}`));
  }
});

test('what is not known is undefined', () => {
  assert.is(partitionType('00000000-0000-0000-0000-000000000001'), undefined);
  assert.is(partitionType('root'), undefined, 'not without the architecture');
  assert.is(partitionType('constructor'), undefined);
});

test.run();
