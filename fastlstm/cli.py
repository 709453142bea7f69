"""The command line: its arguments, and errors that are one line and an exit code."""

from __future__ import annotations

import argparse
import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

import fastlstm
from fastlstm import commands
from fastlstm.config import choose_isa
from fastlstm.errors import FastLSTMError
from fastlstm.precision import PRECISIONS

if TYPE_CHECKING:
    _Choices = argparse._SubParsersAction["_Parser"]


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
    except commands.UsageError as error:
        return _fail(str(error), 2)
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
    choices = parser.add_subparsers(title="commands", metavar="COMMAND")
    for add in (_demo, _info, _inspect, _predict, _verify, _convert, _bench):
        add(choices)
    return parser


_MODEL = "a .keras file or folder, a .h5 file of any Keras, an architecture as .json, or fastlstm's own .npz"


def _with_model(command: argparse.ArgumentParser) -> None:
    """The arguments of every command that loads a model."""
    command.add_argument("model", metavar="MODEL", help=_MODEL)
    command.add_argument("--weights", metavar="FILE", help="the weights, where they are in another file")


def _with_precision(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="how the weights of recurrent layers are kept: less exact ones are smaller and, where a step waits for "
        "memory, sooner done (default: float32)",
    )


def _demo(choices: _Choices) -> None:
    demo = choices.add_parser(
        "demo",
        help="forecast sunspots with a packaged Keras model",
        description="Forecast sunspots with a packaged Keras model, beside what was counted. The exit code "
        "is 1 where the result differs from Keras's own.",
        epilog="example: fastlstm demo --plot forecast.png",
    )
    demo.add_argument("--plot", metavar="FILE", help="the picture (default: sunspots.png, where possible)")
    demo.set_defaults(command=commands.demo)


def _info(choices: _Choices) -> None:
    info = choices.add_parser(
        "info",
        help="print version, instruction sets, threads and compiler",
        description="Print version, instruction sets (chosen, built, runnable here), threads, compiler and "
        "flags: the first lines of a bug report.",
        epilog="example: FASTLSTM_ISA=avx2 fastlstm info",
    )
    info.set_defaults(command=commands.info)


def _inspect(choices: _Choices) -> None:
    inspect = choices.add_parser(
        "inspect",
        help="say what is in a model file",
        description="Print what a model file is, which Keras wrote it, inputs, outputs, layers and the size of the "
        "weights, without reading these. A layer that fastlstm does not compute is named, with exit code 1.",
        epilog="example: fastlstm inspect model.h5 --json",
    )
    inspect.add_argument("model", metavar="MODEL", help=_MODEL)
    inspect.add_argument("--json", action="store_true", help="the same for programs")
    inspect.set_defaults(command=commands.inspect)


def _predict(choices: _Choices) -> None:
    predict = choices.add_parser(
        "predict",
        help="run a model over arrays in a file",
        description="Run a model over the rows of its input, and write one row of output for each. A .npz file holds "
        "several arrays: inputs by name or as in0, in1, ..., outputs as out0, out1, ... A .csv file, with or without "
        "a header, is a table with a row on each line; where the model reads sequences of as many features as there "
        "are columns, it is one sequence with a step on each line.",
        epilog="example: fastlstm predict model.keras input.npy -o output.npy --batch-size 256",
    )
    _with_model(predict)
    predict.add_argument("input", metavar="INPUT", help="the input: .npy, .npz or .csv")
    predict.add_argument(
        "-o", "--output", metavar="OUT", required=True, help="where the result goes, by its ending; replaced if there"
    )
    predict.add_argument(
        "--batch-size", metavar="N", type=_positive, help="rows at a time (default: 32, as in Keras)"
    )
    _with_precision(predict)
    predict.set_defaults(command=commands.predict)


def _verify(choices: _Choices) -> None:
    verify = choices.add_parser(
        "verify",
        help="compare a model with Keras, or with stored vectors",
        description="Run a model on made-up inputs beside the Keras that can read its file (keras 3, or tf_keras for "
        "what Keras 1 and 2 wrote), in a process of its own, or on stored inputs beside stored outputs. The exit code "
        "is 1 where an output differs by more than 1e-5, in units of max(1, |value|), or with --precision by more than "
        "1e-2 in bfloat16, 1e-3 in float16 and 2e-2 in int8.",
        epilog="example: fastlstm verify model.h5 --vectors vectors.npz",
    )
    _with_model(verify)
    verify.add_argument("--vectors", metavar="FILE.npz", help="inputs in0, in1, ... and outputs out0, out1, ...")
    _with_precision(verify)
    verify.set_defaults(command=commands.verify)


def _convert(choices: _Choices) -> None:
    convert = choices.add_parser(
        "convert",
        help="write a model as .keras or .npz",
        description="Read a model of any kind and write it as Keras 3 does (.keras), or to a file that loads with "
        "NumPy alone (.npz). What is written is read again and run beside the original, and not kept if it differs. "
        "Writing .keras needs h5py.",
        epilog="example: fastlstm convert old.h5 new.keras",
    )
    _with_model(convert)
    convert.add_argument("output", metavar="OUT", help="a .keras or .npz file; replaced if there")
    convert.set_defaults(command=commands.convert)


def _bench(choices: _Choices) -> None:
    bench = choices.add_parser(
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
    _with_precision(bench)
    bench.set_defaults(command=commands.bench)


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
