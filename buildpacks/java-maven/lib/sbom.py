"""Turns the output of Maven's dependency:list (standard input) into a CycloneDX 1.5 document.

    sbom.py JAVA_VERSION
"""

import json
import re
import sys

COORDINATES = re.compile(r"^\s+([^\s:]+):([^\s:]+):([^\s:]+)(?::([^\s:]+))?:([^\s:]+):(compile|runtime)\b")


def main() -> None:
    java = {"type": "platform", "bom-ref": "openjdk", "name": "openjdk", "version": sys.argv[1]}
    components = {}
    for line in sys.stdin:
        found = COORDINATES.match(line)
        if not found:
            continue
        group, name, kind, classifier, version, _ = found.groups()
        purl = f"pkg:maven/{group}/{name}@{version}?type={kind}"
        if classifier:
            purl = f"pkg:maven/{group}/{name}@{version}?classifier={classifier}&type={kind}"
        components[purl] = {
            "type": "library",
            "bom-ref": purl,
            "group": group,
            "name": name,
            "version": version,
            "purl": purl,
        }
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "components": [java, *(components[purl] for purl in sorted(components))],
    }
    json.dump(document, sys.stdout, indent=2)
    print()


main()
