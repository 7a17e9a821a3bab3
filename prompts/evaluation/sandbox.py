"""Running what a model wrote: a process of its own, with little of everything.

It keeps mistakes of a model from hurting (endless loops, memory, files, the network), not an
attacker who aims at Python itself: an operator allows it, on a machine made for it.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

CPU_S = 5
WALL_CLOCK_S = 10
MEMORY_BYTES = 512 * 1024 * 1024
FILE_BYTES = 1024 * 1024
OPEN_FILES = 32
MAX_TOLD_CHARS = 200

# Runs first in the new process: what is limited there cannot be raised again without privileges.
_GUARD = f"""
import resource, sys
for kind, limit in (
    (resource.RLIMIT_CPU, {CPU_S}),
    (resource.RLIMIT_AS, {MEMORY_BYTES}),
    (resource.RLIMIT_FSIZE, {FILE_BYTES}),
    (resource.RLIMIT_NOFILE, {OPEN_FILES}),
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_NPROC, 0),
):
    resource.setrlimit(kind, (limit, limit))
source = open("program.py", encoding="utf-8").read()
FORBIDDEN = ("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn",
             "os.fork", "ctypes.", "os.kill", "shutil.")
def refuse(event, arguments):
    is_write = event == "open" and (arguments[2] or 0) & 3  # O_WRONLY, O_RDWR
    if event.startswith(FORBIDDEN) or is_write:
        raise PermissionError(event + " is not allowed here")
sys.addaudithook(refuse)
exec(compile(source, "program.py", "exec"), {{"__name__": "program"}})
"""


def run_tests(program: str) -> str:
    """Run a Python program whose last lines are its tests; return what went wrong, or ""."""
    with tempfile.TemporaryDirectory(prefix="evaluation-") as folder:
        Path(folder, "program.py").write_text(program, encoding="utf-8", errors="replace")
        try:
            done = subprocess.run(  # noqa: S603 - our interpreter, with a program as its data
                [sys.executable, "-I", "-S", "-c", _GUARD],
                cwd=folder,
                env={},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=WALL_CLOCK_S,
                start_new_session=True,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"did not end within {WALL_CLOCK_S} s"
    if done.returncode == 0:
        return ""
    if done.returncode < 0:
        return f"was ended by signal {-done.returncode}: over its limits"
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return f"fails its tests: {lines[-1][:MAX_TOLD_CHARS] if lines else 'no reason given'}"
