"""The command line: ``fastlstm demo``, ``info``, ``predict`` and ``bench``."""

from __future__ import annotations

import argparse
import io
import json
import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import BinaryIO, NoReturn

import numpy as np

import fastlstm
from fastlstm.config import choose_isa
from fastlstm.errors import FastLSTMError
from fastlstm.layers.base import Array


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : list of str, optional
        The arguments; default ``sys.argv[1:]``.

    Returns
    -------
    int
        The exit code: 0 where all went well, 1 for a failure, 2 for wrong usage, 130 after Ctrl-C, 141
        where whoever was to read the output has gone.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name must not be what fails
    try:
        try:
            return _run(argv)
        finally:
            _flush()
    except SystemExit as end:  # argparse's, after --help, --version and wrong usage
        return int(end.code or 0)
    except KeyboardInterrupt:
        if sys.stderr is not None and sys.stderr.isatty():
            print(file=sys.stderr)  # ends the progress bar's line
        return _fail("interrupted", 130)
    except BrokenPipeError:
        return 141
    except (FastLSTMError, OSError, MemoryError) as error:
        return _fail(str(error) or "out of memory")


def _run(argv: list[str] | None) -> int:
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return 2
    choose_isa()  # a wrong FASTLSTM_ISA ends every command alike
    code: int = arguments.command(arguments)
    return code


def _fail(message: str, code: int = 1) -> int:
    print(f"fastlstm: {' '.join(message.splitlines())}", file=sys.stderr)
    return code


def _flush() -> None:
    """Write out what was printed. What cannot be is dropped, or Python would try again when it ends."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


# -- the arguments ----------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """Reports wrong usage in one line."""

    def error(self, message: str) -> NoReturn:
        sys.exit(_fail(f"{message}; {self.prog} --help tells more", 2))


def _parser() -> _Parser:
    parser = _Parser(
        prog="fastlstm",
        description="Run trained Keras LSTM models on this processor, without TensorFlow. FASTLSTM_ISA in "
        "the environment chooses the instruction set; fastlstm info lists those that run here.",
        epilog="example: fastlstm predict model.keras input.npy -o output.npy",
    )
    parser.add_argument("--version", action="version", version=f"fastlstm {fastlstm.__version__}")
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    demo = commands.add_parser(
        "demo",
        help="forecast sunspots with a packaged Keras model",
        description="Forecast sunspots with a packaged Keras model, beside what was counted. The exit code "
        "is 1 where the result differs from Keras's own.",
        epilog="example: fastlstm demo --plot forecast.png",
    )
    demo.add_argument("--plot", metavar="FILE", help="the picture (default: sunspots.png, where possible)")
    demo.set_defaults(command=_demo)

    info = commands.add_parser(
        "info",
        help="print version, instruction sets, threads and compiler",
        description="Print version, instruction sets (chosen, built, runnable here), threads, compiler and "
        "flags: the first lines of a bug report.",
        epilog="example: FASTLSTM_ISA=avx2 fastlstm info",
    )
    info.set_defaults(command=_info)

    predict = commands.add_parser(
        "predict",
        help="run a model over an array in a file",
        description="Run a model over the rows of an array, and write one row of output for each.",
        epilog="example: fastlstm predict model.keras input.npy -o output.npy --batch-size 256",
    )
    predict.add_argument("model", metavar="MODEL", help="a .keras file, or what model.save wrote (.npz)")
    predict.add_argument("input", metavar="INPUT.npy", help="the array, as numpy.save writes it")
    predict.add_argument(
        "-o", "--output", metavar="OUT.npy", required=True, help="where the result goes; replaced if there"
    )
    predict.add_argument(
        "--batch-size", metavar="N", type=_positive, help="rows at a time (default: 32, as in Keras)"
    )
    predict.set_defaults(command=_predict)

    bench = commands.add_parser(
        "bench",
        help="time some standard shapes beside plain NumPy",
        description="Check some standard shapes against float64, then time them in turns with a loop in plain "
        "float32 NumPy, the one peer that is always there. In the source repository bench/compare.py takes "
        "any shape and times onnxruntime, OpenVINO, PyTorch and JAX as well.",
        epilog="example: fastlstm bench --shape kws118 --threads 1 --json kws118.json",
    )
    bench.add_argument(
        "--shape",
        metavar="NAME",
        type=_shape,
        action="append",
        help="amp8, vad128, od837a, kws118, ocv192, db256 or gen128b64; may be given again (default: all)",
    )
    bench.add_argument("--rounds", metavar="N", type=_positive, default=10, help="turns of each (default: 10)")
    bench.add_argument(
        "--threads",
        metavar="N",
        type=_positive,
        help="fastlstm's (default: FASTLSTM_NUM_THREADS, or all processors; OPENBLAS_NUM_THREADS and the like "
        "are NumPy's)",
    )
    bench.add_argument("--json", metavar="FILE", help="what was measured, and on what; replaced if there")
    bench.set_defaults(command=_bench)
    return parser


def _positive(text: str) -> int:
    with suppress(ValueError):
        if (number := int(text)) > 0:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")


def _shape(text: str) -> str:
    from fastlstm.bench import SHAPES

    if text in SHAPES:
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(SHAPES)}")


# -- the commands -----------------------------------------------------------------------------------


def _demo(arguments: argparse.Namespace) -> int:
    from fastlstm import demo

    return demo.run(arguments.plot)


def _info(arguments: argparse.Namespace) -> int:
    fastlstm.show_config()
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    path = arguments.output
    for given in (arguments.model, arguments.input):
        if os.path.exists(path) and os.path.exists(given) and os.path.samefile(path, given):
            return _fail(f"{path!r}: the output would replace {given!r}; give it another name", 2)
    model = fastlstm.load_model(arguments.model)
    if isinstance(model.output_shape, list):
        outputs = len(model.output_shape)
        raise FastLSTMError(f"{arguments.model!r}: has {outputs} outputs; a .npy file holds one")
    x = _opened(arguments.input)
    with _replacing(path) as file:
        begin = time.perf_counter()
        y = model.predict(x, batch_size=arguments.batch_size)
        seconds = time.perf_counter() - begin
        _save(file, y)
    print(f"{path}: {x.shape} -> {y.shape} in {seconds:.3g} s")
    return 0


def _bench(arguments: argparse.Namespace) -> int:
    from fastlstm import bench

    if arguments.threads:
        fastlstm.set_num_threads(arguments.threads)
    with _replacing(arguments.json) if arguments.json is not None else nullcontext() as file:
        result = bench.run(arguments.shape or list(bench.SHAPES), arguments.rounds)
        if file:
            file.write(f"{json.dumps(result, indent=1)}\n".encode())
    return 0


def _opened(path: str) -> Array:
    """The array in a ``.npy`` file, read from it as it is used."""
    if os.path.exists(path) and not os.path.isfile(path):  # open() would wait for ever on a pipe
        raise FastLSTMError(f"{path!r}: cannot be read: not a regular file")
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise FastLSTMError(f"{path!r}: cannot be read: {error.strerror or error}") from None
    except Exception as error:  # whatever a damaged header provokes in NumPy
        why = str(error)[:150]  # NumPy may quote all of the header
        raise FastLSTMError(f"{path!r}: is not a complete .npy file of numbers ({why})") from error


def _save(file: BinaryIO, array: Array) -> None:
    """``np.save``, which itself may write to a full disk and not say so: its C code closes unchecked."""
    array = np.ascontiguousarray(array)
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
    file.write(array.data)


@contextmanager
def _replacing(path: str) -> Iterator[BinaryIO]:
    """A new file that takes the place of ``path`` once it is complete, and only then."""
    target = os.path.realpath(path)  # a link stays, and leads to the new file
    if os.path.exists(target) and not (os.path.isfile(target) and os.access(target, os.W_OK)):
        raise FastLSTMError(f"{path!r}: cannot be written: not a regular file, or write-protected")
    partial = f"{target}.{secrets.token_hex(4)}.part"
    try:
        with open(partial, "xb") as file:
            yield file
        os.replace(partial, target)
    except OSError as error:
        raise FastLSTMError(f"{path!r}: cannot be written: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            os.remove(partial)
