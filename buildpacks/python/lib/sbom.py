"""Prints a CycloneDX 1.5 document of the packages installed in the Python that runs this."""

import json
import re
import sys
from importlib.metadata import Distribution, distributions


def component(package: Distribution) -> dict:
    name = re.sub(r"[-_.]+", "-", package.metadata["Name"]).lower()
    purl = f"pkg:pypi/{name}@{package.version}"
    result = {"type": "library", "bom-ref": purl, "name": name, "version": package.version, "purl": purl}
    expression = package.metadata.get("License-Expression")
    if expression:
        result["licenses"] = [{"expression": expression}]
    return result


def main() -> None:
    version = "{}.{}.{}".format(*sys.version_info)
    runtime = {"type": "platform", "bom-ref": "python", "name": "python", "version": version}
    packages = sorted((component(package) for package in distributions()), key=lambda c: c["purl"])
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "components": [runtime, *packages],
    }
    json.dump(document, sys.stdout, indent=2)
    print()


main()
