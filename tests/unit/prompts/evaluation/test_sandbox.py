import pytest

from prompts.evaluation.sandbox import run_tests


def test_program_that_ends_well_is_good() -> None:
    assert run_tests("import math\nassert math.isqrt(9) == 3\nprint('fine')\n") == ""


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ("assert 1 == 2, 'one is not two'", "fails its tests: AssertionError: one is not two"),
        ("def f(:", "fails its tests: SyntaxError"),
        ("raise SystemExit(3)", "fails its tests"),
        ("x = '\\ud800'\nassert x == ''", "fails its tests: AssertionError"),
        ("x = [0] * 10**9", "fails its tests: MemoryError"),
        ("import socket\nsocket.socket()", "PermissionError: socket"),
        ("import subprocess\nsubprocess.run(['true'])", "PermissionError: subprocess.Popen"),
        ("import os\nos.system('true')", "PermissionError: os.system"),
        ("import os\nos.fork()", "PermissionError: os.fork"),
        ("open('left.txt', 'w')", "PermissionError: open"),
        ("import os\nos.open('left.txt', os.O_WRONLY | os.O_CREAT)", "PermissionError: open"),
        ("import ctypes", "PermissionError"),
    ],
)
def test_what_is_wrong_or_not_allowed_is_told(program: str, problem: str) -> None:
    assert problem in run_tests(program)


def test_endless_loop_is_ended() -> None:
    # A limit may be lowered further, here so that the test need not wait for the usual one.
    lowered = "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (1, 1))\n"

    assert run_tests(lowered + "while True:\n    pass").startswith("was ended by signal")


def test_program_sees_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "hunter2")

    assert run_tests("import os\nassert 'SECRET_KEY' not in os.environ") == ""


def test_a_reason_is_never_long() -> None:
    assert len(run_tests("raise ValueError('x' * 100_000)")) < 300
