import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseCredentialId, parseLoadCredential, parseSetCredential } from '../../src/options/credentials.ts';
import { ValueError } from '../../src/options/usage-error.ts';

const bytesOf = (text: string) => {
  const credential = parseSetCredential(`id:${text}`);
  assert.is(credential.id, 'id');
  return [...('value' in credential ? Buffer.from(credential.value) : [])];
};

const utf8 = (text: string) => [...Buffer.from(text)];

const values: [text: string, bytes: number[]][] = [
  ['', []],
  ['a:b ä', utf8('a:b ä')],
  ['"a"', utf8('"a"')],
  ['\\a\\b\\f\\n\\r\\t\\v\\s\\\\\\"\\\'', [7, 8, 12, 10, 13, 9, 11, 32, 92, 34, 39]],
  ['\\x00\\x41\\xfF', [0, 0x41, 0xff]],
  ['\\000\\101\\3777', [0, 0x41, 0xff, 0x37]],
  ['\\u00e4\\u0000\\u12345', [...utf8('ä'), 0, ...utf8('\u12345')]],
  ['\\U0001F600\\U0010ffff', utf8('\u{1F600}\u{10ffff}')],
  ['😀\\n😀', utf8('😀\n😀')],
];
for (const [text, bytes] of values) {
  test(`the bytes of ${JSON.stringify(text)}`, () => assert.equal(bytesOf(text), bytes));
}

const WRONG = ['\\', '\\q', '\\e', '\\?', '\\x4', '\\x4g', '\\X41', '\\0', '\\18', '\\400', '\\ud800', '\\U0000dfff'];
for (const text of [...WRONG, '\\U00110000', '\\u12', '\\N', '\\😀']) {
  test(`refuses the escape ${text}, and does not tell the rest of the value`, () => {
    assert.throws(
      () => parseSetCredential(`id:secret${text}secret`.slice(0, text === '\\' ? 10 : undefined)),
      (error: Error) =>
        error instanceof ValueError && !error.message.includes('secret') && error.message.includes('the value of id'),
    );
  });
}

test('a value without an ID is not told', () => {
  assert.throws(
    () => parseSetCredential('secret'),
    (error: Error) => error instanceof ValueError && !error.message.includes('secret'),
  );
});

test('IDs are names of files in ASCII, without colons', () => {
  for (const id of ['a', 'passwd.hashed-password.root', 'a b', '...', '-', '\\', 'a'.repeat(255)]) {
    assert.is(parseCredentialId(id), id);
  }
  for (const id of ['', '.', '..', 'a/b', 'a:b', 'é', 'a\n', '\x7f', 'a'.repeat(256)]) {
    assert.throws(
      () => parseCredentialId(id),
      (error: unknown) => error instanceof ValueError,
    );
  }
});

test('paths are absolute, or relative to the credentials that nspawn was passed', () => {
  const passed = { CREDENTIALS_DIRECTORY: '/run/credentials/x' };
  assert.equal(parseLoadCredential('a:/b:c', {}), { id: 'a', path: '/b:c' });
  assert.equal(parseLoadCredential('a:b', passed), { id: 'a', path: '/run/credentials/x/b' });
  assert.equal(parseLoadCredential('a:/b', passed), { id: 'a', path: '/b' });
  for (const environment of [{}, { CREDENTIALS_DIRECTORY: '' }, { CREDENTIALS_DIRECTORY: 'relative' }]) {
    assert.throws(
      () => parseLoadCredential('a:b', environment),
      /only where nspawn has been passed credentials itself/,
    );
  }
  for (const text of ['a', 'a:', ':/a']) assert.throws(() => parseLoadCredential(text, passed), /takes /);
});

test.run();
