import { takes } from './usage-error.ts';

/** A network interface's name, as the kernel takes it and its sysctl files can carry it. Throws ValueError. */
export function parseInterface(text: string): string {
  if (!isInterfaceName(text)) throw takes('a network interface name, 15 characters at most', text);
  return text;
}

/** `HOST[:CONTAINER]`, an interface's names; without the colon where nothing stands behind it. Throws ValueError. */
export function parseInterfacePair(text: string): string {
  const [host = '', container = '', ...more] = text.split(':');
  const pair = container ? [host, container] : [host];
  if (more.length > 0 || !pair.every(isInterfaceName)) {
    throw takes('HOST[:CONTAINER], network interface names of 15 characters at most', text);
  }
  return pair.join(':');
}

/** A zone's name, which becomes the bridge vz-NAME. Throws ValueError. */
export function parseZone(text: string): string {
  if (text === '' || !isInterfaceName(`vz-${text}`)) throw takes('a name of 12 characters at most', text);
  return text;
}

/** `all` and `default` are directories beside those of the interfaces: see Documentation/networking/ip-sysctl.rst. */
function isInterfaceName(text: string): boolean {
  // IFNAMSIZ of <linux/if.h> is 16, with the NUL; a colon would be an alias, and % a pattern.
  if (!/^[!-~]{1,15}$/.test(text) || /[:/%]/.test(text)) return false;
  return !['.', '..', 'all', 'default'].includes(text) && !NUMBER.test(text);
}
/** What other programs take for an interface's index, systemd-nspawn also in hexadecimal, octal and binary. */
const NUMBER = /^\+?(\d+|0x[\da-f]+|0o[0-7]+|0b[01]+)$/i;
