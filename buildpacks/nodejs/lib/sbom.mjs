// Makes npm's CycloneDX document (standard input) the same for the same packages, and adds the runtime.
//
//   sbom.mjs NODE_VERSION
import { readFileSync } from "node:fs";

const document = JSON.parse(readFileSync(0, "utf8"));
// A random number, the time, and where this machine downloads from.
delete document.serialNumber;
delete document.metadata.timestamp;
delete document.metadata.tools;
for (const component of [document.metadata.component, ...document.components]) {
  component.externalReferences = component.externalReferences?.filter(({ type }) => type !== "distribution");
}
document.components.push({
  type: "platform",
  "bom-ref": "node",
  name: "node",
  version: process.argv[2],
  purl: `pkg:generic/node@${process.argv[2]}`,
});
process.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
