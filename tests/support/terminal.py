"""A person at a terminal: starts a program on one, waits for texts, and types what answers them.

Usage: python3 terminal.py TALK PROGRAM WORD...
TALK is JSON: [[text to wait for, text to type], ...]. What the program writes is copied to stdout; its exit code is ours.
"""

import json
import os
import pty
import sys

talk, words = json.loads(sys.argv[1]), sys.argv[2:]
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(words[0], words)
seen = ""
while True:
    try:
        read = os.read(terminal, 65536)
    except OSError:
        # The last process on the terminal has gone.
        read = b""
    if not read:
        break
    os.write(1, read)
    seen += read.decode(errors="replace")
    # Two of them may come at once.
    while talk and talk[0][0] in seen:
        seen = seen[seen.index(talk[0][0]) + len(talk[0][0]):]
        os.write(terminal, talk.pop(0)[1].encode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
