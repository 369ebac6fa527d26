"""Becomes a container's process: mounts, limits, user, capabilities and system-call filters as a kubelet sets them.

Usage: unshare --mount python3 enter_pod.py SPECIFICATION WORD...
The specification is JSON: root, mounts [[source, target, "rw" or "ro"]], readOnly, masksProc, uid, gid, groups,
ownUsers, capabilities (numbers that stay), noNewPrivileges, filters (files with compiled programs), memory (bytes or null),
room (of a volume: [target, bytes] or null), directory, env.
"""

import ctypes
import glob
import json
import os
import resource
import subprocess
import sys
import time

spec = json.loads(sys.argv[1])
words = sys.argv[2:]
libc = ctypes.CDLL(None, use_errno=True)
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 24, 38, 22, 2
EINVAL, MNT_DETACH, CLONE_NEWNS, CLONE_NEWUSER = 22, 2, 0x20000, 0x10000000


def prctl(*arguments):
    if libc.prctl(*(ctypes.c_ulong(argument) for argument in arguments)) != 0:
        raise OSError(ctypes.get_errno(), f"prctl{arguments}")


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def enter_own_users():
    """As hostUsers: false. The numbers are the node's, for that is how idmapped volumes look from inside."""
    pid = os.getpid()
    wait, go = os.pipe()
    helper = os.fork()
    if helper == 0:
        os.read(wait, 1)
        for ids in ["uid_map", "gid_map"]:
            with open(f"/proc/{pid}/{ids}", "w") as file:
                file.write("0 0 65536")
        os._exit(0)
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    os.write(go, b".")
    if os.waitpid(helper, 0)[1] != 0:
        raise OSError("the ids of the user namespace cannot be mapped")


def mask_proc(proc):
    """What runtimes hide, or show for reading only, unless procMount is Unmasked."""
    for name in ["kcore", "keys", "timer_list", "latency_stats", "interrupts"]:
        if os.path.exists(f"{proc}/{name}"):
            mount("--bind", "/dev/null", f"{proc}/{name}")
    for name in ["bus", "fs", "irq", "sys", "sysrq-trigger"]:
        if os.path.exists(f"{proc}/{name}"):
            mount("--bind", f"{proc}/{name}", f"{proc}/{name}")
            mount("-o", "remount,bind,ro", f"{proc}/{name}")


def enter_root(root):
    """A process in a chroot may make no user namespaces, so that will not do."""
    os.chdir(root)
    if libc.pivot_root(b".", b".") != 0:
        raise OSError(ctypes.get_errno(), "pivot_root")
    if libc.umount2(b".", MNT_DETACH) != 0:
        raise OSError(ctypes.get_errno(), "umount2")
    os.chdir("/")


def limit_memory(limit):
    """By a memory cgroup of either version; where none can be made, by the size of the data."""
    for parent, key in [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]:
        # A directory made elsewhere is no cgroup.
        if not os.path.exists(f"{parent}/cgroup.procs"):
            continue
        for left in glob.glob(f"{parent}/lifecycle-test-*"):
            # Who made one a moment ago may not be in it yet.
            if time.time_ns() - int(left.rsplit("-", 1)[1]) > 600e9:
                try:
                    os.rmdir(left)
                except OSError:
                    pass  # it has processes
        try:
            group = f"{parent}/lifecycle-test-{time.time_ns()}"
            os.mkdir(group)
            with open(f"{group}/{key}", "w") as file:
                file.write(str(limit))
            with open(f"{group}/cgroup.procs", "w") as file:
                file.write("0")
            return parent
        except OSError:
            continue
    print("no memory cgroup can be made here: RLIMIT_DATA stands in for it", file=sys.stderr)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    return None


if spec["ownUsers"]:
    enter_own_users()
root = spec["root"]
mount("--make-rprivate", "/")
mount("--bind", root, root)
mount("--rbind", "/proc", root + "/proc")
if spec["masksProc"]:
    mask_proc(root + "/proc")
for source, target, mode in spec["mounts"]:
    if spec["room"] and spec["room"][0] == target:
        # What the volume has does not count: the test is about a step that writes to it.
        mount("-t", "tmpfs", "-o", f"size={spec['room'][1]},mode=2777,gid={spec['groups'][0]}", "room", root + target)
        continue
    mount("--bind", source, root + target)
    if mode == "ro":
        mount("-o", "remount,bind,ro", root + target)
groups = limit_memory(spec["memory"]) if spec["memory"] else None
if groups:
    mount("--bind", groups, root + groups)
    mount("-o", "remount,bind,ro", root + groups)
if spec["readOnly"]:
    mount("-o", "remount,bind,ro", root)
programs = [open(path, "rb").read() for path in spec["filters"]]

enter_root(root)
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
