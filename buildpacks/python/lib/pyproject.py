"""Answers questions about the pyproject.toml in the current directory.

    pyproject.py dependencies   prints the declared dependencies, one requirement a line
    pyproject.py buildable      exit status 0 when the project says how to build itself
"""

import sys
import tomllib


def main() -> None:
    with open("pyproject.toml", "rb") as file:
        try:
            document = tomllib.load(file)
        except tomllib.TOMLDecodeError as error:
            sys.exit(f"ERROR: pyproject.toml: {error}")
    project = document.get("project", {})

    if sys.argv[1] == "buildable":
        sys.exit(0 if "build-system" in document and "name" in project else 1)

    if "dependencies" in project.get("dynamic", []):
        sys.exit(
            "ERROR: pyproject.toml computes its dependencies (dynamic = [\"dependencies\"]), which cannot be locked. "
            "List them there, or add a requirements.txt"
        )
    if not project and "poetry" in document.get("tool", {}):
        sys.exit(
            "ERROR: pyproject.toml has dependencies for Poetry only. "
            "Move them to [project], or export them to a requirements.txt"
        )
    for requirement in project.get("dependencies", []):
        print(requirement)


main()
