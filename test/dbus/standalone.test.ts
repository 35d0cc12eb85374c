/** The folder dbus/ is pure: it imports nothing from outside, and nothing that one runtime only has. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const folder = join(import.meta.dirname, '..', '..', 'dbus');
const sources = readdirSync(folder).map(name => ({ name, text: readFileSync(join(folder, name), 'utf8') }));

test('its files import each other only', () => {
  for (const { name, text } of sources) {
    for (const [, module] of text.matchAll(/(?:from|import\(|import)\s*'([^']+)'/g)) {
      assert.match(module!, /^\.\/[a-z-]+\.ts$/, `${name} imports ${module}`);
    }
  }
});

test('it uses nothing that one runtime only has', () => {
  for (const { name, text } of sources) assert.not.match(text, /\b(Bun|Deno|process|Buffer)\.[a-z]/, name);
});

test.run();
