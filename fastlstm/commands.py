"""What the commands do; each returns its exit code."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, BinaryIO

import fastlstm
from fastlstm import console
from fastlstm.errors import FastLSTMError
from fastlstm.model import Model
from fastlstm.saving import replacing, writer_for
from fastlstm.structure import flatten
from fastlstm.summaries import summary_rows, weights_of


class UsageError(FastLSTMError):
    """The arguments cannot be meant so."""


def demo(arguments: argparse.Namespace) -> int:
    """Forecast sunspots."""
    from fastlstm import demo

    return demo.run(arguments.plot)


def info(arguments: argparse.Namespace) -> int:
    """Print the configuration."""
    fastlstm.show_config()
    return 0


def bench(arguments: argparse.Namespace) -> int:
    """Time some standard shapes."""
    from fastlstm import bench

    if arguments.threads:
        fastlstm.set_num_threads(arguments.threads)
    with _writing(arguments.json) if arguments.json is not None else nullcontext() as file:
        result = bench.run(arguments.shape or list(bench.SHAPES), arguments.rounds, arguments.precision)
        if file:
            file.write(f"{json.dumps(result, indent=1)}\n".encode())
    return 0


# -- predict ----------------------------------------------------------------------------------------


def predict(arguments: argparse.Namespace) -> int:
    """Run a model over arrays in a file."""
    from fastlstm import array_files

    path = arguments.output
    _refuse_replacing(path, arguments.model, arguments.input, arguments.weights)
    model = fastlstm.load_model(arguments.model, weights=arguments.weights, precision=arguments.precision)
    array_files.check_form(path, [model.program.shapes[slot.number] for slot in flatten(model.program.outputs)])
    x = array_files.read_inputs(arguments.input, model)
    with _writing(path) as file:
        begin = time.perf_counter()
        y = model.predict(x, batch_size=arguments.batch_size)
        seconds = time.perf_counter() - begin
        array_files.write_outputs(file, path, y)
    given, found = (", ".join(str(array.shape) for array in flatten(arrays)) for arrays in (x, y))
    print(f"{path}: {given} -> {found} in {seconds:.3g} s")
    return 0


def _refuse_replacing(output: str, *inputs: str | None) -> None:
    """Refuse to write over what is read."""
    for given in inputs:
        if given is not None and os.path.exists(output) and os.path.exists(given) and os.path.samefile(output, given):
            raise UsageError(f"{output!r}: the output would replace {given!r}; give it another name")


@contextmanager
def _writing(path: str) -> Iterator[BinaryIO]:
    """As :func:`fastlstm.saving.replacing`; that it cannot be written is said without the new file's own name."""
    try:
        with replacing(path) as file:
            yield file
    except OSError as error:
        raise FastLSTMError(f"{path!r}: cannot be written: {error.strerror or error}") from None


# -- inspect ----------------------------------------------------------------------------------------


def inspect(arguments: argparse.Namespace) -> int:
    """Say what a file holds; its weights are not read."""
    from fastlstm.loading import describe

    kind, model = describe(arguments.model)
    facts = _facts(kind, model)
    if arguments.json:
        print(json.dumps(facts, indent=1))
        return 0
    for key, value in (
        ("file", kind),
        ("written by", f"Keras {_writer(model)}"),
        ("class", facts["class_name"]),
        *((("inputs" if not i else ""), _tensor(entry)) for i, entry in enumerate(facts["inputs"])),
        *((("outputs" if not i else ""), _tensor(entry)) for i, entry in enumerate(facts["outputs"])),
        ("weights", f"{facts['params']:,} parameters, {console.readable_size(facts['bytes'])}"),
    ):
        console.write(f"{key:<12}{value}\n")
    rows = [row._replace(trainable=None) for row in summary_rows(model)]
    console.write("\n" + console.summary(model.name, rows, None))
    return 0


def _facts(kind: str, model: Model) -> dict[str, Any]:
    program = model.program
    rows = summary_rows(model)
    weights = weights_of(model, model.trainable)
    return {
        "file": kind,
        "keras_version": model.written_by,
        "class_name": model.class_name,
        "name": model.name,
        "inputs": [{"name": e.name, "shape": e.batch_shape, "dtype": e.dtype} for e in program.entries],
        "outputs": [
            {"name": name, "shape": program.shapes[slot.number], "dtype": dtype}
            for name, slot, dtype in zip(
                program.output_names(), flatten(program.outputs), program.output_dtypes(), strict=True
            )
        ],
        "layers": [
            {"name": layer.name, "class_name": layer.class_name, "output_shape": row.shape, "params": row.params}
            for layer, row in zip(model.layers, rows, strict=True)
        ],
        "params": sum(count for count, _, _ in weights),
        "trainable_params": sum(count for count, _, trains in weights if trains),
        "bytes": sum(count * size for count, size, _ in weights),
    }


def _writer(model: Model) -> str:
    """The version that a file states, which may be any text."""
    return "".join(c if c.isprintable() else "?" for c in str(model.written_by)[:40])


def _tensor(entry: dict[str, Any]) -> str:
    return f"{entry['name']}  {tuple(entry['shape'])}  {entry['dtype']}"


# -- verify and convert -----------------------------------------------------------------------------


def verify(arguments: argparse.Namespace) -> int:
    """Compare a model with a live Keras, or with stored vectors."""
    from fastlstm import verifying
    from fastlstm.precision import COST
    from fastlstm.sampling import TOLERANCE

    model = fastlstm.load_model(arguments.model, weights=arguments.weights, precision=arguments.precision)
    allowed = TOLERANCE + COST[arguments.precision]
    if arguments.vectors is not None:
        reference = verifying.stored_reference(arguments.vectors, model)
    else:
        reference = verifying.live_reference(model, arguments.model, arguments.weights)
    rows = verifying.compare(model, reference.inputs, reference.outputs, allowed)
    print(f"{arguments.model}: written by Keras {_writer(model)}, compared with {reference.source}")
    if arguments.precision != "float32":
        print(f"weights of recurrent layers in {arguments.precision}")
    width = max(6, *(len(row.name) for row in rows))
    shapes = max(5, *(len(str(row.shape)) for row in rows))
    print(f"{'output':<{width}}  {'shape':<{shapes}}  max abs error  relative  within {allowed:g}")
    for row in rows:
        error, relative, good = f"{row.error:.1e}", f"{row.relative:.1e}", "yes" if row.passes else "NO"
        print(f"{row.name:<{width}}  {row.shape!s:<{shapes}}  {error:>13}  {relative:>8}  {good}")
    return 0 if all(row.passes for row in rows) else 1


def convert(arguments: argparse.Namespace) -> int:
    """Write a model to another kind of file, and see that it is the same."""
    import numpy as np

    from fastlstm import verifying
    from fastlstm.sampling import TOLERANCE, sample_inputs

    path = arguments.output
    _refuse_replacing(path, arguments.model, arguments.weights)
    if not path.endswith((".keras", ".npz")):
        raise UsageError(f"{path!r}: does not end in .keras or .npz, the formats that fastlstm writes")
    model = fastlstm.load_model(arguments.model, weights=arguments.weights)
    with _writing(path) as file:
        writer_for(path)(model, file)
        file.flush()
        inputs = sample_inputs(model)
        outputs = [np.asarray(array) for array in flatten(model(inputs))]
        model.reset_states()
        rows = verifying.compare(fastlstm.load_model(file.name), flatten(inputs), outputs)
        worst = max(rows, key=lambda row: row.relative)
        if not worst.passes:
            raise FastLSTMError(
                f"{path!r}: not written, since it would read back as another model: {worst.name} differs "
                f"by {worst.error:.1e}, allowed: {TOLERANCE:g}"
            )
    print(f"{path}: {model.count_params():,} parameters; reads back with an error of {worst.relative:.1e}")
    return 0
