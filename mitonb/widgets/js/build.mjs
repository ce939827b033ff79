// Joins the viewer's modules into static/viewer.js (anywidget loads one blob: relative imports cannot work there).
// With --check nothing is written: it fails when the tracked files are not what the sources give.
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const check = process.argv.includes("--check");
const result = await build({
  absWorkingDir: here,
  entryPoints: { viewer: "main.js", scene: "scene.js", table: "table.js" },
  outdir: "../static",
  bundle: true,
  format: "esm",
  target: "es2022",
  minifySyntax: true,
  minifyWhitespace: true,
  charset: "utf8",
  legalComments: "none",
  write: false,
  banner: { js: "// Built from mitonb/widgets/js by `npm run build`; do not edit.", css: "/* Built from mitonb/widgets/js by `npm run build`; do not edit. */" },
});
let stale = 0;
for (const file of result.outputFiles) {
  const old = await readFile(file.path, "utf8").catch(() => "");
  if (old === file.text) continue;
  stale += 1;
  if (!check) await writeFile(file.path, file.text);
}
if (check && stale) {
  console.error("mitonb/widgets/static/viewer.* is not what mitonb/widgets/js gives: run `npm run build` and commit it.");
  process.exit(1);
}
