// SPDX-License-Identifier: Apache-2.0
// Holds each manifest against the published types of the Kubernetes API (npm's
// kubernetes-models): by its validators, for types and what is required, and as literals
// of its interfaces by the TypeScript compiler, for which an unknown key is a mistake.
// kubernetes.sh calls it: NODE_MODULES FILE...
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const [modules, ...files] = process.argv.slice(2);
const require = createRequire(modules + "/");
const YAML = require("yaml");
const ts = require("typescript");

const path = (doc) => `kubernetes-models/${doc.apiVersion}`;

const unknownKeys = (doc) => {
	const name = `${modules}/../literal.ts`;
	writeFileSync(name, `import type { I${doc.kind} } from "${path(doc)}";\n` +
		`export const x: I${doc.kind} = ${JSON.stringify(doc, null, 1)};\n`);
	const program = ts.createProgram([name], {
		noEmit: true, strict: true, skipLibCheck: true, types: [],
		module: ts.ModuleKind.CommonJS, moduleResolution: ts.ModuleResolutionKind.Node10 ?? 2,
		ignoreDeprecations: "5.0",
	});
	return ts.getPreEmitDiagnostics(program).map((d) => ts.flattenDiagnosticMessageText(d.messageText, " "));
};

let failed = 0;
for (const file of files) {
	for (const parsed of YAML.parseAllDocuments(readFileSync(file, "utf8"))) {
		const doc = parsed.toJSON();
		const what = `${file}: ${doc?.kind} ${doc?.metadata?.name}`;
		const mistakes = parsed.errors.map((e) => e.message);
		try {
			new (require(path(doc))[doc.kind])(doc).validate();
			mistakes.push(...unknownKeys(doc));
		} catch (e) {
			mistakes.push(e.message);
		}
		failed += mistakes.length;
		console.log(`${mistakes.length ? "not ok" : "ok"} - ${what}`);
		for (const line of mistakes.join("\n").split("\n").filter(Boolean))
			console.log(`# ${line}`);
	}
}
process.exit(failed ? 1 : 0);
