/** File names of the Monaco workers, filled in by build.mjs. */
declare const WORKER_FILES: { readonly editor: string; readonly json: string; readonly graphql: string };

declare module "fleetgraph:examples" {
  import type { Example } from "./examples";
  const examples: readonly Example[];
  export default examples;
}
declare module "*.graphql" {
  const text: string;
  export default text;
}
declare module "*.svg" {
  const file: string;
  export default file;
}
declare module "*.css";
