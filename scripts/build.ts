/**
 * Makes dist/nspawn, one file that needs neither Bun nor node_modules where it runs:
 *
 *     bun scripts/build.ts [TARGET [ENTRY [OUTFILE]]]
 *
 * TARGET is linux-x64, linux-arm64, linux-x64-musl or linux-arm64-musl; this machine when absent or empty.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import process from 'node:process';
import type { BunPlugin } from 'bun';
import { agentElf, stubCode } from '../syscalls/agent/machine-code.ts';
import { arm64 } from '../syscalls/tables/arm64.ts';
import { x86_64 } from '../syscalls/tables/x86_64.ts';

const ROOT = dirname(import.meta.dirname);

/** What npm calls the parts of a target: koffi's package and the folder in it, and Bun's package. */
const TARGETS: Record<string, { koffi: string; folder: string; bun: string }> = {
  'linux-x64': { koffi: 'koffi-linux-x64', folder: 'linux_x64', bun: 'bun-linux-x64' },
  'linux-x64-musl': { koffi: 'koffi-linux-x64', folder: 'musl_x64', bun: 'bun-linux-x64-musl' },
  'linux-arm64': { koffi: 'koffi-linux-arm64', folder: 'linux_arm64', bun: 'bun-linux-aarch64' },
  'linux-arm64-musl': { koffi: 'koffi-linux-arm64', folder: 'musl_arm64', bun: 'bun-linux-aarch64-musl' },
};

/** This machine's target. A report has a glibc version only where glibc is what Bun runs on. */
function hostTarget(): string {
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  return `linux-${process.arch}${header.glibcVersionRuntime ? '' : '-musl'}`;
}

/** Path of a file in an npm package. Throws with the command that installs the package when it is missing. */
function packaged(name: string, path: string, version: string): string {
  const found = resolve(ROOT, 'node_modules', name, path);
  if (existsSync(found)) return found;
  throw new Error(`${found} is missing: npm install --no-save --force ${name}@${version}`);
}

/** Puts koffi-embedded.ts in the place of koffi.ts, and the target's native library in the place of koffi.node. */
const embedKoffi = (library: string): BunPlugin => ({
  name: 'embed koffi',
  setup(build) {
    build.onResolve({ filter: /\/koffi\.ts$/ }, () => ({ path: resolve(ROOT, 'syscalls/koffi-embedded.ts') }));
    build.onResolve({ filter: /^koffi\.node$/ }, () => ({ path: library }));
    // Its contents as a file: by itself Bun would load a .node, by way of /tmp.
    build.onLoad({ filter: /\/koffi\.node$/ }, () => ({ contents: readFileSync(library), loader: 'file' }));
  },
});

/** Puts the agent's machine code for the target in the place of what would assemble it. */
const embedMachineCode = (architecture: 'x86_64' | 'arm64'): BunPlugin => ({
  name: 'embed machine code',
  setup(build) {
    build.onLoad({ filter: /\/agent\/machine-code\.ts$/ }, () => {
      const numbers = architecture === 'arm64' ? arm64 : x86_64;
      const bytes = (code: Uint8Array) => `new Uint8Array(${JSON.stringify([...code])})`;
      const stub = bytes(stubCode(architecture, numbers));
      const agent = bytes(agentElf(architecture, numbers));
      return {
        contents: `export const stubCode = () => ${stub}; export const agentElf = () => ${agent};`,
        loader: 'js',
      };
    });
  },
});

const [target = '', entry = 'src/cli/main.ts', outfile = 'dist/nspawn'] = process.argv.slice(2);
const name = target || hostTarget();
const parts = TARGETS[name];
if (!parts) throw new Error(`Unknown target ${name}: choose one of ${Object.keys(TARGETS).join(', ')}`);

const manifest = JSON.parse(readFileSync(resolve(ROOT, 'package.json'), 'utf8'));
const koffiVersion: string = manifest.dependencies.koffi;
const library = packaged(`@koromix/${parts.koffi}`, `${parts.folder}/koffi.node`, koffiVersion);
const { size } = statSync(library);

await Bun.build({
  entrypoints: [resolve(ROOT, entry)],
  target: 'bun',
  format: 'esm',
  minify: true,
  // What is imported only when it is needed is then loaded only then, too.
  splitting: true,
  bytecode: true,
  // What can't be found now would be looked for in a node_modules at run time.
  allowUnresolved: [],
  plugins: [embedKoffi(library), embedMachineCode(name.includes('arm64') ? 'arm64' : 'x86_64')],
  define: {
    // Leaves the other architecture's tables out.
    'process.arch': JSON.stringify(name.includes('arm64') ? 'arm64' : 'x64'),
    NSPAWN_EXECUTABLE: String(entry === 'src/cli/main.ts'),
    KOFFI_SIZE: String(size),
    KOFFI_NAME: JSON.stringify(`koffi-${koffiVersion}-${parts.folder}-${size}.node`),
  },
  compile: {
    ...(name === hostTarget()
      ? {}
      : { executablePath: packaged(`@oven/${parts.bun}`, 'bin/bun', manifest.devDependencies.bun) }),
    outfile: resolve(ROOT, outfile),
    // Compiled to machine code thirty times later than usual: most runs end before that pays, and start 10 % faster.
    jitPolicy: 30,
    // A program that runs as root must not take settings or code from the directory it is started in.
    autoloadDotenv: false,
    autoloadBunfig: false,
    autoloadPackageJson: false,
    autoloadTsconfig: false,
  },
});
