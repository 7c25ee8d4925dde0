#!/usr/bin/env node
// Makes a component of a JavaScript or TypeScript file with transforms or aggregates: `build.mjs clean.ts -o clean.wasm`.
//
// esbuild bundles it with the SDK. The bundle is loaded here first, so that what is wrong with it is said in its own terms,
// and to learn what it holds. Then componentize-js takes a snapshot of an engine that has loaded it. The component imports
// the host's log and nothing else: all that leads to WASI is left out.
//
// The tools are found in node_modules beside this file, or in the folder that MILLRACE_JS_TOOLS names.

import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const HERE = dirname(fileURLToPath(import.meta.url));
const WIT = resolve(HERE, "../../wit");
const LOG = "millrace:feature/log@0.1.0";

// The worlds of the contract, by what a component holds.
const WORLDS = { "transform": "transform-udf", "aggregate": "aggregate-udf", "transform,aggregate": "udf" };

function fail(words) {
  console.error(`build.mjs: ${words}`);
  process.exit(1);
}

/** A tool, which has to be there. */
async function tool(name) {
  for (const folder of [process.env.MILLRACE_JS_TOOLS, HERE].filter(Boolean)) {
    // A package that only offers `import` is not found by `require.resolve`: its folder is, by name.
    const at = join(folder, "node_modules", name);
    if (!existsSync(at)) continue;
    const { exports, main } = JSON.parse(await readFile(join(at, "package.json"), "utf8"));
    return import(pathToFileURL(join(at, exports?.import ?? main)).href);
  }
  return fail(`${name} is missing: cd ${HERE} && npm install --ignore-scripts`);
}

/** The author's file and the SDK in one module, with where its lines come from. */
async function bundle(esbuild, source, entry, external) {
  const built = await esbuild.build({
    stdin: { contents: entry, resolveDir: dirname(source), sourcefile: "entry.js" },
    bundle: true,
    format: "esm",
    platform: "neutral",
    target: "es2022",
    external,
    alias: { "millrace-sdk": join(HERE, "src/index.js"), "millrace-sdk/component": join(HERE, "src/component.js") },
    sourcemap: "external",
    outdir: "out",
    write: false,
    logLevel: "silent",
  }).catch((error) => {
    const said = (error.errors ?? []).map(({ text, location }) =>
      location ? `${relative(process.cwd(), resolve(location.file))}:${location.line}: ${text}` : text);
    fail(`${source} cannot be bundled:\n${said.join("\n") || error.message}`);
  });
  const [map, code] = ["map", "js"].map((end) => built.outputFiles.find(({ path }) => path.endsWith(`.${end}`)).text);
  return { code, map: JSON.parse(map) };
}

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** The file and line that each line of a bundle comes from: pairs of numbers, -1 for what is the SDK's. */
function linesOf(map, folder) {
  const files = map.sources.map((source) => resolve("out", source));
  const names = files.map((file) => relative(folder, file));
  const pairs = [];
  const at = [0, 0, 0, 0];
  for (const line of map.mappings.split(";")) {
    at[0] = 0;
    let first = null;
    for (const segment of line.split(",").filter(Boolean)) {
      numbersOf(segment).forEach((number, field) => {
        at[field] += number;
      });
      if (segment.length > 1) first ??= [at[1], at[2] + 1];
    }
    const ours = first === null || files[first[0]].startsWith(join(HERE, "src")) || names[first[0]].endsWith("entry.js");
    pairs.push(...(ours ? [-1, 0] : first));
  }
  return { names, pairs };
}

function numbersOf(segment) {
  const numbers = [];
  let [number, shift] = [0, 0];
  for (const letter of segment) {
    const digit = DIGITS.indexOf(letter);
    number |= (digit & 31) << shift;
    shift += 5;
    if (digit < 32) {
      numbers.push(number & 1 ? -(number >> 1) : number >> 1);
      [number, shift] = [0, 0];
    }
  }
  return numbers;
}

/** Loads the author's module here; what it holds. */
async function kindsOf(esbuild, source, folder) {
  const entry = `export { held } from "millrace-sdk/component"; import * as udfs from ${JSON.stringify(source)}; export { udfs };`;
  const { code } = await bundle(esbuild, source, entry, []);
  const at = join(folder, "check.mjs");
  await writeFile(at, code);
  try {
    const { held, udfs } = await import(pathToFileURL(at).href);
    const found = held(udfs);
    const kinds = ["transform", "aggregate"].filter((kind) => found[kind].length > 0);
    if (kinds.length === 0) fail(`${source} exports no UDF: write export const clean = transform({ … })`);
    return kinds;
  } catch (error) {
    return fail(`${source} cannot be loaded: ${error?.message ?? error}`);
  }
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { out: { type: "string", short: "o" }, wit: { type: "string", default: WIT } },
  });
  if (positionals.length !== 1) fail("what is to be built? build.mjs clean.ts -o clean.wasm");
  const source = resolve(positionals[0]);
  if (!existsSync(source)) fail(`there is no ${positionals[0]}`);
  const out = resolve(values.out ?? source.replace(/\.[^.]*$/, ".wasm"));
  const [esbuild, { componentize }] = [await tool("esbuild"), await tool("@bytecodealliance/componentize-js")];
  const folder = await mkdtemp(join(tmpdir(), "millrace-javascript-"));
  try {
    const kinds = await kindsOf(esbuild.default ?? esbuild, source, folder);
    const entry = `
import ${JSON.stringify(join(HERE, "src/start.js"))};
import { component } from "millrace-sdk/component";
import { log } from "${LOG}";
import * as udfs from ${JSON.stringify(source)};
const made = component(udfs, log);
${kinds.map((kind) => `export const ${kind} = made.${kind};`).join("\n")}
`;
    const { code, map } = await bundle(esbuild.default ?? esbuild, source, entry, [LOG]);
    const { names, pairs } = linesOf(map, dirname(source));
    const at = join(folder, `${basename(source).replace(/\.[^.]*$/, "")}.js`);
    await writeFile(at, `${code}\nglobalThis.millraceLines = ${JSON.stringify({ files: names, pairs })};\n`);
    const made = await componentize({
      sourcePath: at,
      witPath: values.wit,
      worldName: WORLDS[kinds.join(",")],
      disableFeatures: ["stdio", "random", "clocks", "http", "fetch-event"],
    });
    await mkdir(dirname(out), { recursive: true });
    await writeFile(out, made.component);
  } catch (error) {
    fail(`componentize-js could not make a component of ${source}:\n${error?.message ?? error}`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

await main();
