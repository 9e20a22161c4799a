"""The sandbox of the process that decodes: what it has not got by now it never gets.

Linux only. seccomp (kernel 3.17) lets through the calls of `NUMBERS` and no others: nothing is written, linked, run or
sent to anybody. Landlock (5.13) leaves the folders of Python's own libraries to be read, which import a part of themselves
late; without it nothing can be opened at all. Both are called by number, because the libraries that wrap them are
unmaintained or need others of the system.
"""

import ctypes
import os
import platform
import struct
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

EACCES, ENOSYS = 13, 38
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""Machine -> what the kernel calls it (AUDIT_ARCH); only there are the numbers of calls known."""

# Call -> its number on x86_64 and on aarch64 (None: it has none there).
NUMBERS: dict[str, tuple[int | None, int | None]] = {
    # what is open
    "read": (0, 63),
    "write": (1, 64),
    "readv": (19, 65),
    "writev": (20, 66),
    "pread64": (17, 67),
    "preadv": (295, 69),
    "lseek": (8, 62),
    "close": (3, 57),
    "dup": (32, 23),
    "dup2": (33, None),
    "dup3": (292, 24),
    "fstat": (5, 80),
    "newfstatat": (262, 79),
    "statx": (332, 291),
    "sendto": (44, 206),
    "recvfrom": (45, 207),
    "sendmsg": (46, 211),
    "recvmsg": (47, 212),
    "shutdown": (48, 210),
    "select": (23, None),
    "pselect6": (270, 72),
    "poll": (7, None),
    "ppoll": (271, 73),
    # memory of its own
    "brk": (12, 214),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "madvise": (28, 233),
    # threads, time, signals to itself
    "futex": (202, 98),
    "set_robust_list": (273, 99),
    "set_tid_address": (218, 96),
    "rseq": (334, 293),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "getcpu": (309, 168),
    "membarrier": (324, 283),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    "getitimer": (36, 102),
    "setitimer": (38, 103),
    "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "gettimeofday": (96, 169),
    "time": (201, None),
    "times": (100, 153),
    "exit": (60, 93),
    "exit_group": (231, 94),
    # who and where it is
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getppid": (110, 173),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "uname": (63, 160),
    "sysinfo": (99, 179),
    "getrusage": (98, 165),
    "getrlimit": (97, 163),
    "getrandom": (318, 278),
    # under conditions
    "openat": (257, 56),
    "getdents64": (217, 61),
    "mmap": (9, 222),
    "clone": (56, 220),
    "tgkill": (234, 131),
    "prlimit64": (302, 261),
    "prctl": (157, 167),
    "fcntl": (72, 25),
    "ioctl": (16, 29),
}
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF, CLONE3 = 444, 445, 446, 435
SECCOMP = {"x86_64": 317, "aarch64": 277}


@dataclass(frozen=True, slots=True)
class Condition:
    """A call is let through where its argument number `argument`, of which `mask` is looked at, is one of `values`."""

    argument: int
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF


MAP_PRIVATE, MAP_TYPE = 2, 0xF
CLONE_THREAD, CLONE_NEW = 0x10000, 0x7E020000
F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC = 0, 1, 2, 3, 1030
O_WRITES_OR_MAKES = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC
FIONBIO = 0x5421
PR_SET_DUMPABLE, PR_SET_NAME, PR_SET_NO_NEW_PRIVS, PR_SET_VMA = 4, 15, 38, 0x53564D41


def _conditions(reads_libraries: bool) -> dict[str, Condition]:
    return {
        "openat": Condition(2, (0,) if reads_libraries else (), O_WRITES_OR_MAKES),
        "getdents64": Condition(0, (0,) if reads_libraries else (), 0),
        "mmap": Condition(3, (MAP_PRIVATE,), MAP_TYPE),  # what is shared could be written to
        "clone": Condition(0, (CLONE_THREAD,), CLONE_THREAD | CLONE_NEW),
        "tgkill": Condition(0, (os.getpid(),)),  # abort()
        "prlimit64": Condition(0, (0,)),
        "prctl": Condition(0, (PR_SET_NAME, PR_SET_VMA)),
        "fcntl": Condition(1, (F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC)),
        "ioctl": Condition(1, (FIONBIO,)),
    }


def enter() -> list[str]:
    """Give up, for good, all that decoding does not need; returns what of `seccomp` and `landlock` holds from now on.

    Whatever is to be imported or opened should have been. Nothing happens on systems other than Linux, and what a kernel
    lacks is left out; so is Landlock where other threads run already, for they would stay outside.
    """
    if sys.platform != "linux":
        return []
    _libc().prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    is_alone = len(list(Path("/proc/self").glob("task/*"))) == 1
    landlocked = is_alone and _enter_landlock()  # first: seccomp refuses its calls
    return ["seccomp"] * _enter_seccomp(reads_libraries=landlocked) + ["landlock"] * landlocked


def hide_this_process() -> None:
    """Close /proc/PID/environ, mem and the like of this process to other processes of its account, and end core dumps."""
    if sys.platform == "linux":
        _libc().prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


class _Ruleset(ctypes.Structure):
    """struct landlock_ruleset_attr"""

    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    """struct landlock_path_beneath_attr"""

    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


READ_FILE, READ_DIR, PATH_BENEATH = 1 << 2, 1 << 3, 1


def library_folders() -> list[str]:
    """Where Python and its packages lie, and the libraries of the system that those may load."""
    of_python = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return sorted({*of_python, "/usr/lib", "/usr/lib64", "/lib", "/lib64"})


def _enter_landlock() -> bool:
    """A ruleset of all that the kernel can refuse, less reading in `library_folders`."""
    libc = _libc()
    version = libc.syscall(LANDLOCK_CREATE_RULESET, None, 0, 1)
    if version < 1:
        return False
    kinds = {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)  # reading, writing, making, ... of files
    ruleset = _Ruleset((1 << kinds) - 1, 0b11 if version >= 4 else 0, 0b11 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    descriptor = libc.syscall(LANDLOCK_CREATE_RULESET, ctypes.byref(ruleset), size, 0)
    if descriptor < 0:
        return False
    for folder in library_folders():
        with suppress(OSError):  # it is not there
            parent = os.open(folder, os.O_PATH | os.O_CLOEXEC)
            beneath = _Beneath(READ_FILE | READ_DIR, parent)
            libc.syscall(LANDLOCK_ADD_RULE, descriptor, PATH_BENEATH, ctypes.byref(beneath), 0)
            os.close(parent)
    done = libc.syscall(LANDLOCK_RESTRICT_SELF, descriptor, 0) == 0
    os.close(descriptor)
    return done


class _Program(ctypes.Structure):
    """struct sock_fprog"""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def _enter_seccomp(reads_libraries: bool) -> bool:
    machine = platform.machine()
    if machine not in ARCHITECTURES or struct.calcsize("P") != 8:
        return False
    code = b"".join(_filter(machine, _conditions(reads_libraries)))
    program = _Program(len(code) // 8, code)
    set_mode_filter, all_threads = 1, 1
    done = _libc().syscall(SECCOMP[machine], set_mode_filter, all_threads, ctypes.byref(program))
    return bool(done == 0)


LOAD, AND, EQUAL, RETURN = 0x20, 0x54, 0x15, 0x06
"""codes of the kernel's filters (classic BPF)"""
ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16
"""where they lie in struct seccomp_data; of an argument, of 64 bits, the lower 32 come first"""


def _filter(machine: str, conditions: dict[str, Condition]) -> Iterator[bytes]:
    column = list(ARCHITECTURES).index(machine)
    yield from (_code(LOAD, ARCHITECTURE), _code(EQUAL, ARCHITECTURES[machine], 1, 0), _code(RETURN, KILL))
    yield _code(LOAD, NUMBER)
    for name, numbers in NUMBERS.items():
        number = numbers[column]
        if number is None:
            continue
        then = [_code(RETURN, ALLOW)]
        if condition := conditions.get(name):
            tests = [_code(EQUAL, value, 0, 1) + then[0] for value in condition.values]
            then = [
                _code(LOAD, ARGUMENTS + 8 * condition.argument),
                _code(AND, condition.mask),
                *tests,
                _code(RETURN, REFUSE | EACCES),
            ]
        body = b"".join(then)
        yield _code(EQUAL, number, 0, len(body) // 8) + body
    # The C library asks for clone3 first, whose flags no filter sees, and takes clone where there is none.
    yield _code(EQUAL, CLONE3, 0, 1) + _code(RETURN, REFUSE | ENOSYS)
    yield _code(RETURN, REFUSE | EACCES)


def _code(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
