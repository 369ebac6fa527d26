"""Answers questions about the package.json in the current directory.

    package.py node              what the app asks of Node: a range, or an empty line
    package.py npm               the same of npm
    package.py has-script NAME   exit status 0 when the script exists
    package.py has KEY...        exit status 0 when one of the keys has content
    package.py start             the command of `npm start`, with its pre script, or an empty line
"""

import json
import os
import re
import sys


def main() -> None:
    try:
        with open("package.json", encoding="utf-8-sig") as file:
            manifest = json.load(file)
    except ValueError as error:
        print(f"ERROR: package.json: {error}", file=sys.stderr)
        sys.exit(2)
    scripts = manifest.get("scripts", {})
    engines = manifest.get("engines", {})

    match sys.argv[1:]:
        case ["node"]:
            print(engines.get("node", ""))
        case ["npm"]:
            pinned = re.match(r"npm@([0-9.]+)", manifest.get("packageManager", ""))
            print(pinned[1] if pinned else engines.get("npm", ""))
        case ["has-script", name]:
            sys.exit(0 if scripts.get(name) else 1)
        case ["has", *keys]:
            sys.exit(0 if any(manifest.get(key) for key in keys) else 1)
        case ["start"]:
            start = scripts.get("start") or ("node server.js" if os.path.exists("server.js") else "")
            print(f"{scripts['prestart']} && {start}" if start and "prestart" in scripts else start)
        case question:
            sys.exit(f"package.py: no such question: {question}")


main()
