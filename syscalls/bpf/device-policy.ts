/** Puts a device program in force for a cgroup: bpf(2), with union bpf_attr of linux/bpf.h. */
import { call } from '../call.ts';
import { owned } from '../fd.ts';
import { perform } from '../syscall.ts';
import { type DeviceRule, deviceProgram } from './device-program.ts';
import { encode } from './instructions.ts';

/** enum bpf_cmd */
const BPF_PROG_LOAD = 5;
const BPF_PROG_ATTACH = 8;
/** enum bpf_prog_type, enum bpf_attach_type */
const BPF_PROG_TYPE_CGROUP_DEVICE = 15;
const BPF_CGROUP_DEVICE = 6;
/** Those below may have further programs: an init has some for its units. */
const BPF_F_ALLOW_MULTI = 2;

/** Offsets in union bpf_attr for BPF_PROG_LOAD */
const LOAD = { type: 0, count: 4, instructions: 8, license: 16, size: 48 } as const;
/** The same for BPF_PROG_ATTACH */
const ATTACH = { target: 0, program: 4, type: 8, flags: 12, size: 16 } as const;

/**
 * Lets what runs in a cgroup, by its descriptor, use only these devices, as long as the cgroup is there. Throws
 * SyscallError: EPERM without CAP_BPF (CAP_SYS_ADMIN), EINVAL where the kernel has no such programs.
 */
export function restrictDevices(cgroup: number, rules: readonly DeviceRule[]): void {
  const program = encode(deviceProgram(rules));
  const load = new Uint8Array(LOAD.size);
  const view = new DataView(load.buffer);
  view.setUint32(LOAD.type, BPF_PROG_TYPE_CGROUP_DEVICE, true);
  view.setUint32(LOAD.count, program.length / 8, true);
  const pointers = [
    [LOAD.instructions, program],
    // The program calls no function that is for GPL programs only; the kernel wants a text all the same.
    [LOAD.license, 'LGPL'],
  ] as const;
  using loaded = owned(perform(call('bpf', BPF_PROG_LOAD, { bytes: load, pointers }, load.length)));
  const attach = new Uint32Array(ATTACH.size / 4);
  attach[ATTACH.target / 4] = cgroup;
  attach[ATTACH.program / 4] = loaded.fd;
  attach[ATTACH.type / 4] = BPF_CGROUP_DEVICE;
  attach[ATTACH.flags / 4] = BPF_F_ALLOW_MULTI;
  perform(call('bpf', BPF_PROG_ATTACH, new Uint8Array(attach.buffer), attach.byteLength));
}
