"""Turns the output of `go version -m` (standard input) into a CycloneDX 1.5 document.

The compiler writes the modules that it used into each program, so these are the resolved dependencies.
"""

import json
import sys


def component(path: str, version: str, digest: str) -> dict:
    purl = f"pkg:golang/{path}@{version}"
    result = {"type": "library", "bom-ref": purl, "name": path, "version": version, "purl": purl}
    if digest.startswith("h1:"):
        # Go's own hash over the names and hashes of the module's files; no CycloneDX algorithm, so a property.
        result["properties"] = [{"name": "go:h1", "value": digest}]
    return result


def main() -> None:
    components: dict[str, dict] = {}
    replaced = None
    for line in sys.stdin:
        if not line.startswith("\t"):
            version = line.rsplit(":", 1)[1].strip().split()[0].removeprefix("go")
            components["go"] = {"type": "platform", "bom-ref": "go", "name": "go", "version": version}
            continue
        kind, *fields = line.strip().split("\t")
        if kind not in ("dep", "=>"):
            continue
        path, version, digest = (fields + ["", ""])[:3]
        if kind == "=>" and replaced:
            components.pop(replaced, None)
        new = component(path, version, digest)
        components[new["bom-ref"]] = new
        replaced = new["bom-ref"]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "components": [components[reference] for reference in sorted(components)],
    }
    json.dump(document, sys.stdout, indent=2)
    print()


main()
