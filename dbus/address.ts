/** Addresses of buses: D-Bus specification, "Server Addresses". */

/**
 * Names of the sockets of an address, in their order, as they are in struct sockaddr_un: those in the abstract name space
 * begin with a zero byte. Other transports than sockets of this machine are left out.
 */
export function socketNames(address: string): string[] {
  return address.split(';').flatMap(each => {
    const [transport, options = ''] = splitAt(each, ':');
    if (transport !== 'unix') return [];
    const values = new Map(options.split(',').map(option => splitAt(option, '=')));
    const path = values.get('path');
    const abstract = values.get('abstract');
    if (path !== undefined) return [unescapeValue(path)];
    return abstract === undefined ? [] : [`\0${unescapeValue(abstract)}`];
  });
}

function splitAt(text: string, separator: string): [before: string, after: string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

/** `%` and two hexadecimal digits stand for a byte. */
function unescapeValue(value: string): string {
  return value.replace(/(?:%[0-9a-fA-F]{2})+/g, bytes =>
    new TextDecoder().decode(Uint8Array.from(bytes.slice(1).split('%'), digits => Number.parseInt(digits, 16))),
  );
}
