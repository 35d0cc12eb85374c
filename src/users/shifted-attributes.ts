/** Extended attributes with user and group ids in them, moved to another range. Pure functions of their bytes. */
import { shiftedId } from './range.ts';

export const ACL_ATTRIBUTES = ['system.posix_acl_access', 'system.posix_acl_default'] as const;
export const CAPABILITY_ATTRIBUTE = 'security.capability';

/** linux/posix_acl_xattr.h: a version, then entries of tag, permissions and id. */
const ACL = { version: 2, header: 4, entry: 8, id: 4 } as const;
/** linux/posix_acl.h: the tags of those entries that have an id. */
const ACL_USER = 0x02;
const ACL_GROUP = 0x08;

/** An ACL with the ids of the range from `base` on. Throws an Error for what is none. */
export function shiftAcl(acl: Uint8Array, base: number): Uint8Array {
  const shifted = acl.slice();
  const view = new DataView(shifted.buffer);
  if (shifted.length < ACL.header || view.getUint32(0, true) !== ACL.version) {
    throw new Error('its access control list has an unknown form');
  }
  for (let at: number = ACL.header; at + ACL.entry <= shifted.length; at += ACL.entry) {
    const tag = view.getUint16(at, true);
    if (tag !== ACL_USER && tag !== ACL_GROUP) continue;
    view.setUint32(at + ACL.id, shiftedId(view.getUint32(at + ACL.id, true), base), true);
  }
  return shifted;
}

/**
 * linux/capability.h, struct vfs_ns_cap_data: revision and flags, two times permitted and inheritable; since revision 3
 * the id of the root user whose user namespace they count in, before for that of the machine only.
 */
const CAPABILITY = { revisions: 0xff000000, two: 0x02000000, three: 0x03000000, rootId: 20 } as const;

/** Capabilities of a file that count for the root user `base`. Those of an unknown revision stay as they are. */
export function shiftCapability(capability: Uint8Array, base: number): Uint8Array {
  if (capability.length < CAPABILITY.rootId) return capability;
  const magic = new DataView(capability.buffer, capability.byteOffset).getUint32(0, true);
  const revision = (magic & CAPABILITY.revisions) >>> 0;
  if (revision !== CAPABILITY.two && revision !== CAPABILITY.three) return capability;
  const shifted = new Uint8Array(base === 0 ? CAPABILITY.rootId : CAPABILITY.rootId + 4);
  shifted.set(capability.subarray(0, CAPABILITY.rootId));
  const view = new DataView(shifted.buffer);
  const flags = magic & ~CAPABILITY.revisions;
  view.setUint32(0, flags | (base === 0 ? CAPABILITY.two : CAPABILITY.three), true);
  if (base !== 0) view.setUint32(CAPABILITY.rootId, base, true);
  return shifted;
}
