"""Becomes a container's process: mounts, limits, user, capabilities and system-call filters as a kubelet sets them.

Usage: unshare --mount python3 enter_pod.py SPECIFICATION WORD...
The specification is JSON: root, mounts [[source, target, "rw" or "ro"]], readOnly, uid, gid, groups, capabilities (numbers
that stay), noNewPrivileges, filters (files with compiled programs), memory (bytes or null), directory, env.
"""

import ctypes
import json
import os
import resource
import subprocess
import sys

spec = json.loads(sys.argv[1])
words = sys.argv[2:]
libc = ctypes.CDLL(None, use_errno=True)
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 24, 38, 22, 2
EINVAL = 22


def prctl(*arguments):
    if libc.prctl(*(ctypes.c_ulong(argument) for argument in arguments)) != 0:
        raise OSError(ctypes.get_errno(), f"prctl{arguments}")


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def limit_memory(limit):
    """By a memory cgroup of either version; where none can be made, by the size of the data."""
    name = f"lifecycle-test-{os.getpid()}"
    for parent, key in [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]:
        try:
            group = os.path.join(parent, name)
            os.mkdir(group)
            with open(os.path.join(group, key), "w") as file:
                file.write(str(limit))
            with open(os.path.join(group, "cgroup.procs"), "w") as file:
                file.write("0")
            return
        except OSError:
            continue
    print("no memory cgroup can be made here: RLIMIT_DATA stands in for it", file=sys.stderr)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


root = spec["root"]
mount("--make-rprivate", "/")
mount("--bind", root, root)
mount("--rbind", "/proc", root + "/proc")
for source, target, mode in spec["mounts"]:
    mount("--bind", source, root + target)
    if mode == "ro":
        mount("-o", "remount,bind,ro", root + target)
if spec["readOnly"]:
    mount("-o", "remount,bind,ro", root)
programs = [open(path, "rb").read() for path in spec["filters"]]
if spec["memory"]:
    limit_memory(spec["memory"])

os.chroot(root)
os.chdir(spec["directory"])
os.umask(0o022)
for capability in range(64):
    if capability not in spec["capabilities"]:
        try:
            prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
        except OSError as error:
            if error.errno != EINVAL:
                raise
os.setgroups(spec["groups"])
os.setresgid(spec["gid"], spec["gid"], spec["gid"])
os.setresuid(spec["uid"], spec["uid"], spec["uid"])
if spec["noNewPrivileges"]:
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
for program in programs:
    buffer = ctypes.create_string_buffer(program, len(program))
    filter = Program(len(program) // 8, ctypes.addressof(buffer))
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(filter), 0, 0)
os.execve(words[0], words, spec["env"])
