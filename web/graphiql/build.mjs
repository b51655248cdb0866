// Bundles the page into one directory: index.html, assets/<name>-<hash>.<ext> (each with a .gz beside it where
// that is smaller) and manifest.json, which lists every file that may be served and its media type.
// Usage: node build.mjs OUTPUT_DIRECTORY
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gzip } from "node:zlib";

const here = path.dirname(fileURLToPath(import.meta.url));
const examplesDirectory = path.join(here, "..", "..", "docs", "examples");
const output = process.argv[2] && path.resolve(process.argv[2]);
if (!output) {
  console.error("usage: node build.mjs OUTPUT_DIRECTORY");
  process.exit(2);
}

// esbuild has printed what is wrong and where; a stack of this script would push that out of sight.
process.on("uncaughtException", (error) => {
  if (!error.errors) console.error(error.message);
  process.exit(1);
});

const MEDIA_TYPES = {
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
  ".ttf": "font/ttf",
  ".txt": "text/plain; charset=utf-8",
  ".woff2": "font/woff2",
};

// The examples are files of the documentation, so that README and the tests run the very same text.
// The first comment line is the title, the following ones the description.
async function readExamples() {
  const names = (await readdir(examplesDirectory)).filter((name) => name.endsWith(".graphql")).sort();
  return Promise.all(
    names.map(async (name) => {
      const query = await readFile(path.join(examplesDirectory, name), "utf8");
      const comments = [];
      for (const line of query.split("\n")) {
        if (!line.startsWith("#")) break;
        comments.push(line.replace(/^#\s?/, ""));
      }
      if (!comments[0]) throw new Error(`docs/examples/${name}: the first line must be a comment with the title.`);
      const variablesFile = path.join(examplesDirectory, name.replace(/\.graphql$/, ".variables.json"));
      const variables = await readFile(variablesFile, "utf8").catch((error) => {
        if (error.code === "ENOENT") return null;
        throw error;
      });
      if (variables !== null) JSON.parse(variables);
      return { title: comments[0], description: comments.slice(1).join(" ").trim(), query: query.trimEnd() + "\n", variables };
    }),
  );
}

const examples = {
  name: "examples",
  setup(bundle) {
    bundle.onResolve({ filter: /^fleetgraph:examples$/ }, () => ({ path: "examples", namespace: "examples" }));
    bundle.onLoad({ filter: /.*/, namespace: "examples" }, async () => ({
      contents: JSON.stringify(await readExamples()),
      loader: "json",
    }));
  },
};

// graphiql/style.css already holds all of Monaco's styles; its modules import them a second time, one by one.
const monacoStylesOnce = {
  name: "monaco-styles-once",
  setup(bundle) {
    bundle.onLoad({ filter: /monaco-editor[\\/]esm[\\/].*\.css$/ }, () => ({ contents: "", loader: "css" }));
  },
};

const common = {
  absWorkingDir: here,
  bundle: true,
  minify: true,
  metafile: true,
  target: ["es2022"],
  outdir: path.join(output, "assets"),
  define: { "process.env.NODE_ENV": '"production"', "process.env.USE_IMPORT": '"true"' },
  legalComments: "none", // gathered into licences-<hash>.txt below
  logLevel: "warning",
};

await rm(output, { recursive: true, force: true });
await mkdir(path.join(output, "assets"), { recursive: true });

// Workers are classic scripts of their own: a page under a strict Content-Security-Policy may not make them from blobs.
const workers = await build({
  ...common,
  format: "iife",
  entryPoints: {
    "editor.worker": "monaco-editor/esm/vs/editor/editor.worker.js",
    "json.worker": "monaco-editor/esm/vs/language/json/json.worker.js",
    "graphql.worker": "monaco-graphql/esm/graphql.worker.js",
  },
  entryNames: "[name]-[hash]",
});
const entryOf = (metafile, start, extension) => {
  const found = Object.keys(metafile.outputs).find((file) => {
    const name = path.basename(file);
    return name.startsWith(start) && name.endsWith(extension);
  });
  if (!found) throw new Error(`The bundle has no ${start}*${extension}.`);
  return path.basename(found);
};

const page = await build({
  ...common,
  format: "esm",
  splitting: true,
  jsx: "automatic",
  entryPoints: { page: "src/main.tsx" },
  entryNames: "[name]-[hash]",
  chunkNames: "chunk-[hash]",
  assetNames: "[name]-[hash]",
  loader: { ".ttf": "file", ".woff2": "file", ".svg": "file", ".graphql": "text" },
  plugins: [examples, monacoStylesOnce],
  define: {
    ...common.define,
    WORKER_FILES: JSON.stringify({
      editor: entryOf(workers.metafile, "editor.worker-", ".js"),
      json: entryOf(workers.metafile, "json.worker-", ".js"),
      graphql: entryOf(workers.metafile, "graphql.worker-", ".js"),
    }),
  },
});

// The licences of what is inside the bundle travel with it.
async function writeLicences() {
  const inputs = [...Object.keys(page.metafile.inputs), ...Object.keys(workers.metafile.inputs)];
  const packages = new Set();
  for (const input of inputs) {
    const match = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input.replaceAll("\\", "/"));
    if (match) packages.add(match[1]);
  }
  const parts = [];
  for (const directory of [...packages].sort()) {
    const absolute = path.resolve(here, directory);
    const about = JSON.parse(await readFile(path.join(absolute, "package.json"), "utf8"));
    const file = (await readdir(absolute)).find((name) => /^licen[cs]e/i.test(name));
    const text = file ? await readFile(path.join(absolute, file), "utf8") : "";
    parts.push(`${about.name} ${about.version} (${about.license})\n\n${text.trim()}`);
  }
  const text = parts.join(`\n\n${"-".repeat(80)}\n\n`) + "\n";
  const name = `licences-${createHash("sha256").update(text).digest("hex").slice(0, 8).toUpperCase()}.txt`;
  await writeFile(path.join(output, "assets", name), text);
  return name;
}
const licences = await writeLicences();

const html = (await readFile(path.join(here, "src", "index.html"), "utf8"))
  .replace("{{script}}", entryOf(page.metafile, "page-", ".js"))
  .replace("{{style}}", entryOf(page.metafile, "page-", ".css"))
  .replace("{{icon}}", entryOf(page.metafile, "icon-", ".svg"))
  .replace("{{licences}}", licences);
await writeFile(path.join(output, "index.html"), html);

const compress = promisify(gzip);
const files = {};
for (const name of (await readdir(path.join(output, "assets"))).sort()) {
  const type = MEDIA_TYPES[path.extname(name)];
  if (!type) throw new Error(`No media type is known for ${name}; add it to MEDIA_TYPES.`);
  const bytes = await readFile(path.join(output, "assets", name));
  if (bytes.length === 0) continue; // what is left of Monaco's own styles
  const small = await compress(bytes, { level: 9 });
  const compressed = small.length < bytes.length * 0.9;
  if (compressed) await writeFile(path.join(output, "assets", `${name}.gz`), small);
  files[name] = { type, compressed };
}
const about = JSON.parse(await readFile(path.join(here, "package.json"), "utf8"));
await writeFile(
  path.join(output, "manifest.json"),
  JSON.stringify({ graphiql: about.dependencies.graphiql, files }, null, 1) + "\n",
);
