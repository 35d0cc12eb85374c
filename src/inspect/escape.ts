/** What an image's labels say is for nobody to act on: not for terminals, and not for the lines that they stand in. */

/** Controls, invisible characters, those that turn the direction of writing, private and unassigned ones. */
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/gu;

/** With `\u001b` in place of what isn't a visible character. */
export const escaped = (text: string): string => text.replace(UNPRINTABLE, codeUnits);

/** In quotes, and escaped as JSON is. */
export const quoted = (text: string): string => escaped(JSON.stringify(text));

/** JSON in lines, of which each is printable. */
export const printableJson = (value: unknown): string =>
  JSON.stringify(value, null, 2).split('\n').map(escaped).join('\n');

function codeUnits(character: string): string {
  return Array.from({ length: character.length }, (_, index) => {
    return `\\u${character.charCodeAt(index).toString(16).padStart(4, '0')}`;
  }).join('');
}
