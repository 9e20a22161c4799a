"""A decoder that was taken over: hostile code runs where a decoder does, and gets nothing."""

import errno
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import image_zoo as zoo
import psutil
import pytest

from resources.images import Limits, Reject, decode_isolated, isolated, sandbox

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="other systems have neither seccomp nor Landlock"
)

# Put in front of `serve`: a decoder that, given a file, tries all this and answers with what came of it.
HOSTILE = """
import ctypes, fcntl, json, mmap, os, platform, shutil, signal, socket, threading
from resources.images import child
libc = ctypes.CDLL(None, use_errno=True)
parent, victim, beside = os.getppid(), {victim!r}, {beside!r}
NEW = dict(ptrace=(101, 117), process_vm_readv=(310, 270), shmget=(29, 194), keyctl=(250, 219),
    io_uring_setup=(425, 425), userfaultfd=(323, 282), bpf=(321, 280), perf_event_open=(298, 241), unshare=(272, 97),
    memfd_create=(319, 279), pidfd_open=(434, 434), pidfd_getfd=(438, 438), openat2=(437, 437), mount=(165, 40),
    name_to_handle_at=(303, 264), add_key=(248, 217), msgget=(68, 186), setsid=(112, 157), clone3=(435, 435),
    personality=(135, 92), open_by_handle_at=(304, 265), inotify_init1=(294, 26), fallocate=(285, 47), flock=(73, 32),
    execveat=(322, 281), process_madvise=(440, 440), landlock_create_ruleset=(444, 444), seccomp=(317, 277))

def call(name, *arguments):
    number = NEW[name][platform.machine() == "aarch64"]
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

def attacks(source):
    file = source.fileno()
    yield "environ of the parent", lambda: open(f"/proc/{{parent}}/environ", "rb").read()
    yield "memory of the parent", lambda: open(f"/proc/{{parent}}/mem", "rb")
    yield "own environ", lambda: open("/proc/self/environ", "rb")
    yield "another picture", lambda: open(victim, "rb")
    yield "accounts", lambda: open("/etc/passwd", "rb")
    yield "list", lambda: os.listdir(os.path.dirname(victim))
    yield "write", lambda: open(victim, "r+b")
    yield "make", lambda: open(beside, "wb")
    yield "reopen", lambda: os.open(f"/proc/self/fd/{{file}}", os.O_RDWR)
    yield "write the file itself", lambda: os.write(file, b"x")
    yield "cut it", lambda: os.ftruncate(file, 0)
    yield "map it", lambda: mmap.mmap(file, 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    yield "touch it", lambda: os.utime(file)
    yield "open it to all", lambda: os.fchmod(file, 0o777)
    yield "lock it", lambda: fcntl.flock(file, fcntl.LOCK_SH)
    yield "link", lambda: os.link(victim, beside)
    yield "symlink", lambda: os.symlink(victim, beside)
    yield "rename", lambda: os.rename(victim, beside)
    yield "unlink", lambda: os.unlink(victim)
    yield "truncate", lambda: os.truncate(victim, 0)
    yield "chmod", lambda: os.chmod(victim, 0o777)
    yield "mkdir", lambda: os.mkdir(beside)
    yield "mkfifo", lambda: os.mkfifo(beside)
    yield "readlink", lambda: os.readlink("/proc/self/exe")
    yield "socket", lambda: socket.socket(socket.AF_INET).connect(("127.0.0.1", 9))
    yield "datagram", lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    yield "unix socket", lambda: socket.socket(socket.AF_UNIX)
    yield "raw", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    yield "fork", os.fork
    yield "exec", lambda: os.execv("/bin/true", ["true"])
    yield "spawn", lambda: os.posix_spawn("/bin/true", ["true"], {{}})
    yield "kill the parent", lambda: os.kill(parent, 0)
    yield "kill all", lambda: os.kill(-1, 0)
    yield "signal a thread of it", lambda: call_tgkill()
    yield "its limits", lambda: __import__("resource").prlimit(parent, 7)
    yield "its priority", lambda: os.setpriority(os.PRIO_PROCESS, parent, 1)
    yield "pipe", os.pipe
    yield "chdir", lambda: os.chdir("/")
    for name in NEW:
        if name != "clone3":
            yield name, lambda name=name: call(name, *([16, parent, 0, 0] if name == "ptrace" else [0] * 5))

def call_tgkill():
    if libc.syscall(131 if platform.machine() == "aarch64" else 234, parent, parent, 0) < 0:
        raise OSError(ctypes.get_errno(), "refused")

def takeover(source, limits, budget):
    done = {{}}
    for name, attack in attacks(source):
        try:
            attack()
            done[name] = "done"
        except OSError as error:
            done[name] = error.errno
    thread = threading.Thread(target=lambda: done.update(thread="runs"))
    thread.start()
    thread.join()
    open_ = []
    for number in range(256):
        try:
            os.fstat(number)
            open_.append([number, fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE])
        except OSError:
            pass
    raise child.Reject("taken_over", json.dumps([done, open_, source.fileno()]))

child.decode_to_proxy = takeover
"""


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Path]:
    isolated.close_all()
    zoo.write(tmp_path / "library", {"victim.png": zoo.encoded(zoo.picture(), "PNG")})
    yield tmp_path / "library"
    isolated.close_all()


def taken_over(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, object], list[list[int]], int]:
    """What came of each attack, which descriptors were open and how, and which of them is the file."""
    names = {"victim": str(library / "victim.png"), "beside": str(library / "beside")}
    hostile = HOSTILE.format(**names).replace("{", "{{").replace("}", "}}")
    monkeypatch.setattr(isolated, "CODE", isolated.CODE.replace("serve({", f"{hostile}\nserve({{"))
    with tempfile.TemporaryFile(buffering=0, dir=library) as file:  # open for writing
        file.write(b"a picture")
        with pytest.raises(Reject) as caught:
            decode_isolated(file, Limits())
    assert caught.value.code == "taken_over", caught.value
    done, open_, number = json.loads(caught.value.reason)
    return done, open_, number


def require(part: str) -> None:
    held = isolated.sandboxed_by()
    isolated.close_all()
    if part not in held:
        pytest.skip(f"this kernel, or what it runs in, has no {part}")


def test_hostile_code_in_a_decoder_gets_nothing(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require("seccomp")
    before = (library / "victim.png").read_bytes(), (library / "victim.png").stat()
    done, open_, file = taken_over(library, monkeypatch)
    assert done.pop("thread") == "runs", "decoders start threads"
    assert {name: result for name, result in done.items() if result != errno.EACCES} == {
        "write the file itself": errno.EBADF
    }
    assert len(done) > 50
    writable = [number for number, mode in open_ if mode != os.O_RDONLY]
    assert file not in writable
    assert len(writable) == 4, "its answers' socket, and the null device three times"
    assert len(open_) == 5
    after = (library / "victim.png").read_bytes(), (library / "victim.png").stat()
    assert after == before
    assert [path.name for path in library.iterdir()] == ["victim.png"]


LANDLOCKED = """
import ctypes, json, os, socket
from resources.images import sandbox
sandbox._libc().prctl(38, 1, 0, 0, 0)
assert sandbox._enter_landlock()
done = {}
for name, attack in {
    "environ": lambda: open(f"/proc/{os.getppid()}/environ"),
    "accounts": lambda: open("/etc/passwd"),
    "make": lambda: open("made", "w"),
    "run": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "link": lambda: os.link("victim.png", "beside.png"),
    "a library": lambda: open(os.__file__),
}.items():
    try:
        attack()
        done[name] = "done"
    except PermissionError:
        done[name] = "refused"
libc = ctypes.CDLL(None, use_errno=True)
done["ptrace"] = libc.ptrace(16, os.getppid(), 0, 0)
print(json.dumps(done))
"""


def test_landlock_alone_leaves_nothing_but_libraries_to_be_read(library: Path) -> None:
    require("landlock")
    ran = subprocess.run(
        [sys.executable, "-c", LANDLOCKED],
        cwd=library,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
    )
    refused = dict.fromkeys(["environ", "accounts", "make", "run", "link"], "refused")
    assert json.loads(ran.stdout) == {**refused, "a library": "done", "ptrace": -1}


# Root may look at every process, unless it gives up what lets it (CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_PERFMON).
WITHOUT_CAPABILITIES = """
import ctypes, os, sys
for capability in (19, 21, 38):
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
os.execv(sys.executable, [sys.executable, "-c", *sys.argv[1:]])
"""
HIDDEN = """
import os, subprocess, sys
from resources.images import sandbox
if sys.argv[1] == "hide":
    sandbox.hide_this_process()
assert os.readlink("/proc/self/fd/0") and os.listdir("/proc/self/task")
look = "import os; open(f'/proc/{os.getppid()}/environ', 'rb').read()"
print(subprocess.run([sys.executable, "-c", look], stderr=subprocess.DEVNULL).returncode)
"""


def test_the_environment_of_who_decodes_is_closed_to_processes_of_the_same_account() -> None:
    def looks(how: str) -> bytes:
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [sys.executable, "-c", WITHOUT_CAPABILITIES, HIDDEN, how],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=True,
        ).stdout

    if looks("show") != b"0\n":
        pytest.skip("nobody may look at other processes here")
    assert looks("hide") == b"1\n"


def test_a_process_that_decodes_is_bound_for_good(library: Path) -> None:
    decode_isolated(io.BytesIO((library / "victim.png").read_bytes()), Limits())
    (process,) = [
        child for child in psutil.Process().children() if "images.child" in " ".join(child.cmdline())
    ]
    status = dict(
        line.split(":\t")
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
        if ":\t" in line
    )
    assert status["NoNewPrivs"] == "1"
    assert (status["Seccomp"] == "2") == ("seccomp" in isolated.sandboxed_by())


def test_the_filter_names_no_call_twice_and_both_machines_have_theirs() -> None:
    for column in range(2):
        numbers = [pair[column] for pair in sandbox.NUMBERS.values() if pair[column] is not None]
        assert len(numbers) == len(set(numbers))
    assert set(sandbox._conditions(True)) <= set(sandbox.NUMBERS)
