// The TypeScript of the guide `verify-in-your-service`, checked with the types of the SDK and run. Argument: the folder with
// verify.ts and away.ts, which asks a server that never gives a verdict. Environment: KEYRACK_TEST_KEY, KEYRACK_ROOT_KEY.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import ts from "typescript";

// Packages are found from a file's own place upwards.
const here = import.meta.dirname ?? new URL(".", import.meta.url).pathname;
const folder = join(here, "node_modules", ".keyrack-guide", String(process.pid));
mkdirSync(folder, { recursive: true });

const options = {
  strict: true,
  noEmitOnError: true,
  skipLibCheck: true,
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  types: ["node"],
  typeRoots: [join(here, "node_modules", "@types")],
};

async function compiled(name) {
  const source = join(folder, `${name}.mts`);
  writeFileSync(source, readFileSync(join(process.argv[2], `${name}.ts`)));
  const program = ts.createProgram([source], options);
  const faults = [...ts.getPreEmitDiagnostics(program), ...program.emit().diagnostics];
  if (faults.length > 0) {
    const host = { getCanonicalFileName: (path) => path, getCurrentDirectory: () => here, getNewLine: () => "\n" };
    throw new Error(ts.formatDiagnostics(faults, host));
  }
  return import(pathToFileURL(join(folder, `${name}.mjs`)));
}

const told = ({ outcome, code, customer }) => console.log([outcome, code ?? customer].filter(Boolean).join(" "));
try {
  const { verify } = await compiled("verify");
  const key = process.env.KEYRACK_TEST_KEY;
  told(await verify(key));
  told(await verify(key, "documents.read"));
  told(await verify("pay_nobody"));
  told(await (await compiled("away")).verify(key));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
