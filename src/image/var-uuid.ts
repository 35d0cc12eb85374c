import process from 'node:process';
import { discoverableType } from '../../gpt/index.ts';

/**
 * The UUID of the partition that is /var of the machine with that id (32 hexadecimal digits), so that no other machine
 * takes it for its own: Discoverable Partitions Specification. It is made as sd_id128_get_machine_app_specific(3) does:
 * HMAC-SHA256 of the partition type, keyed by the machine's id, cut to a UUID of version 4.
 */
export function varUuid(machineId: string): string {
  // Loading it takes longer than all else that is done for an image, and few images have such a partition.
  const { createHmac } = process.getBuiltinModule('node:crypto');
  const type = discoverableType('var', 'x86-64').replaceAll('-', '');
  const bytes = createHmac('sha256', Buffer.from(machineId, 'hex')).update(Buffer.from(type, 'hex')).digest();
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return bytes.toString('hex', 0, 16).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}
