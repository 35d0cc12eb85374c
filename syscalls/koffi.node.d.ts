/** Koffi's native library as scripts/build.ts embeds it: the path it has inside the executable. */
declare module 'koffi.node' {
  const path: string;
  export default path;
}
