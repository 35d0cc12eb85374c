/** Disk images of ordinary users: only root may mount what is in them, but a program of the host's can show it by FUSE. */
import { S } from '../../syscalls/constants.ts';
import { fileType } from '../../syscalls/file.ts';
import { hostStatus, mayWrite } from '../host.ts';
import { findProgram } from '../host-program.ts';
import { UsageError } from '../options/usage-error.ts';
import type { FileSystem, FuseProgram, Plan } from './steps.ts';

/** Which program knows a file system, and where that comes from. */
const PROGRAMS: Readonly<Record<string, { name: FuseProgram; from: string }>> = {
  ext2: { name: 'fuse2fs', from: "Debian's package fuse2fs" },
  ext3: { name: 'fuse2fs', from: "Debian's package fuse2fs" },
  ext4: { name: 'fuse2fs', from: "Debian's package fuse2fs" },
  squashfs: { name: 'squashfuse', from: "Debian's package squashfuse" },
  erofs: { name: 'erofsfuse', from: 'of erofs-utils; Debian 12 has no package of it' },
};

const DEVICE = '/dev/fuse';

/** The same plan, where such programs show the file systems of the image. Throws UsageError for what none can. */
export function throughFuse(plan: Plan): Plan {
  const { directory: image } = plan;
  if (fileType(hostStatus(image)!.mode) === S.IFBLK) {
    throw new UsageError(`--image=${image} takes root: it is a block device; a file that is a copy of it does without`);
  }
  const hostObjects = Object.fromEntries(
    Object.entries(plan.hostObjects).map(([key, object]) => [
      key,
      object.kind === 'file system' ? shown(object) : object,
    ]),
  );
  return { ...plan, hostObjects };
}

function shown(object: FileSystem): FileSystem {
  const program = PROGRAMS[object.type];
  if (!program) {
    const known = Object.keys(PROGRAMS).join(', ');
    throw new UsageError(`mounting ${object.name} takes root: without, it can be ${known}, which FUSE programs know`);
  }
  const mounting = `mounting ${object.name} without root`;
  const path = findProgram(program.name);
  if (path === undefined) {
    throw new UsageError(`${mounting} takes ${program.name} (${program.from}), which is not installed`);
  }
  if (!mayWrite(DEVICE)) {
    throw new UsageError(`${mounting} takes ${DEVICE}, which is not there for this user; as root: modprobe fuse`);
  }
  return { ...object, through: { name: program.name, path } };
}
