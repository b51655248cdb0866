import type { Environment } from "monaco-editor";

// Monaco asks for its workers by label; each is a file beside this one, on the gateway's own origin.
const environment: Environment = {
  getWorker(_id, label) {
    const file =
      label === "json" ? WORKER_FILES.json : label === "graphql" ? WORKER_FILES.graphql : WORKER_FILES.editor;
    return new Worker(new URL(file, import.meta.url), { name: label });
  },
};
window.MonacoEnvironment = environment;
