"""Generated models, written by live Keras in every layout, against fastlstm; as a script it prints the table.

    python tests/generated.py [models per layout]

One line per model that differs or is refused, then a table. Needs Keras 3 with TensorFlow; tf_keras is used
where it is installed.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from drawing import WORDS, Drawer, Kit
from drawing_graphs import Given, Grapher, stateful
from layouts import IN_CODE, LAYOUTS

import fastlstm

WAVERS = "Keras's own answer wavers"
BOUND = 1e-5  # promised against Keras: relative to max(1, |value|)
LARGE = 1e3  # outputs beyond are of models that blow up, which nobody trains
ROWS = 3


# -- the three libraries ------------------------------------------------------------------------------


def keras_kit(keras: Any) -> Kit:
    ops = keras.ops
    functions = (
        lambda x: x * 2.0, lambda x: 1.0 - x, lambda x: -x, lambda x: x + x, lambda x: x / 3.0, abs,
        lambda x: x * x - 0.5 * x, lambda x: x[:, ::-1], ops.tanh, ops.sigmoid, lambda x: ops.clip(x, -0.5, 0.7),
        lambda x: ops.softmax(x, axis=1), lambda x: ops.cumsum(x, axis=1), lambda x: ops.flip(x, axis=1),
        lambda x: ops.maximum(x, 0.1), ops.square, lambda x: ops.where(x > 0.1, x, 0.2 * x),
        lambda x: ops.concatenate([x[..., :1], x[..., 1:]], axis=-1), lambda x: ops.roll(x, 1, axis=1),
    )  # fmt: skip
    reductions = (
        lambda x: x[:, -1], lambda x: x[:, 0, :], lambda x: ops.mean(x, axis=1), lambda x: ops.sum(x, axis=1),
        lambda x: ops.max(x, axis=1), lambda x: ops.squeeze(x[:, :1], axis=1), lambda x: ops.std(x, axis=1),
    )  # fmt: skip
    return Kit(3, keras.Input, keras.Model, keras.Sequential, keras.layers, functions, reductions)


def tf_keras_kit(tf_keras: Any) -> Kit:
    import tensorflow as tf

    functions = (
        lambda x: x * 2.0, lambda x: 1.0 - x, lambda x: -x, lambda x: x + x, lambda x: x / 3.0, abs,
        lambda x: x * x - 0.5 * x, tf.tanh, tf.sigmoid, tf.nn.relu, lambda x: tf.nn.softmax(x, axis=1), tf.square,
        lambda x: tf.maximum(x, 0.1), lambda x: tf.concat([x[..., :1], x[..., 1:]], axis=-1),
    )  # fmt: skip
    reductions = (
        lambda x: x[:, -1], lambda x: x[:, 0, :], lambda x: tf.reduce_mean(x, axis=1),
        lambda x: tf.reduce_sum(x, axis=1), lambda x: tf.reduce_max(x, axis=1), lambda x: tf.squeeze(x[:, :1], axis=1),
    )  # fmt: skip
    return Kit(2, tf_keras.Input, tf_keras.Model, tf_keras.Sequential, tf_keras.layers, functions, reductions)


def operators(kit: Kit) -> Kit:
    """The kit with those operations alone that are Python's operators: fastlstm has no ``ops``."""
    functions = (
        lambda x: x * 2.0, lambda x: 1.0 - x, lambda x: -x, lambda x: x + x, lambda x: x / 3.0, abs,
        lambda x: x**2, lambda x: x[:, ::-1],
    )  # fmt: skip
    return kit._replace(functions=functions, reductions=(lambda x: x[:, -1], lambda x: x[:, 0, :]))


def own_kit() -> Kit:
    f = fastlstm
    return operators(Kit(3, f.Input, f.Model, f.Sequential, f.layers, (), ()))


# -- a model and its inputs ---------------------------------------------------------------------------


class Case(NamedTuple):
    """A live model and what it computes."""

    model: Any
    inputs: Any
    outputs: list[Any]  # of each call, one after the other
    double: bool


def drawn(kit: Kit, seed: int) -> tuple[Any, Given]:
    """One model in eight is stateful, one in four of the others a stack."""
    if seed % 8 == 7:
        return stateful(kit, seed, ROWS)
    if seed % 4 == 2:
        return Drawer(kit, seed).sequential()
    return Grapher(kit, seed).draw()


def trained(model: Any, rng: np.random.Generator) -> None:
    """Weights as a trained model may have them: large enough for every gate to move."""

    def values(name: str, old: Any) -> Any:
        if old.dtype.kind != "f":
            return old
        if "variance" in name:
            return rng.uniform(0.5, 2, old.shape)
        if old.ndim < 2:
            return rng.normal(0, 0.4, old.shape) + ("gamma" in name)
        spread = 1 if "embedding" in name else 1.5 / np.sqrt(np.prod(old.shape[:-1]))
        return rng.normal(0, spread, old.shape)

    model.set_weights([values(w.name, old) for w, old in zip(model.weights, model.get_weights(), strict=True)])


def values(kind: str, sizes: tuple[int, ...], rng: np.random.Generator) -> Any:
    """Words with padding and gaps, numbers with steps of zeros, or a mask."""
    shape = (ROWS, *sizes)
    if kind == "bool":
        return rng.random(shape) < 0.7
    if len(sizes) == 1:
        words = rng.integers(1, WORDS, shape)
        words[np.arange(sizes[0]) >= rng.integers(1, sizes[0] + 1, ROWS)[:, None]] = 0
        words[rng.random(shape) < 0.1] = 0
        return words.astype(kind)
    x = rng.normal(size=shape).astype(kind)
    x[rng.random(shape[:2]) < 0.2] = 0
    return x


def case(kit: Kit, seed: int) -> Case | None:
    """The model of this seed, or None where Keras itself cannot make or run it."""
    rng = np.random.default_rng((seed, 1))
    try:
        model, given = drawn(kit, seed)
        if not model.built:
            return None
        trained(model, rng)
        arrays = [values(kind, sizes, rng) for kind, sizes in given]
        inputs: Any = arrays if len(arrays) > 1 else arrays[0]
        if isinstance(getattr(model, "_inputs_struct" if kit.generation == 3 else "_nested_inputs", None), dict):
            inputs = {f"in{i}": array for i, array in enumerate(arrays)}
        outputs = [model(inputs, training=False) for _ in range(2 if seed % 8 == 7 else 1)]
    except Exception:  # Keras's and TensorFlow's own, of many kinds
        return None
    flat = [np.asarray(part) for part in leaves(outputs)]
    if not all(np.isfinite(part).all() and np.abs(part).max(initial=0) < LARGE for part in flat):
        return None
    return Case(model, inputs, outputs, Drawer(kit, seed).double)


def leaves(nest: Any) -> list[Any]:
    if isinstance(nest, dict):
        return [leaf for key in sorted(nest) for leaf in leaves(nest[key])]
    if isinstance(nest, list | tuple):
        return [leaf for part in nest for leaf in leaves(part)]
    return [nest]


def form(nest: Any) -> Any:
    """The nest without its values."""
    if isinstance(nest, dict):
        return {key: form(part) for key, part in sorted(nest.items())}
    return [form(part) for part in nest] if isinstance(nest, list | tuple) else None


# -- comparing ----------------------------------------------------------------------------------------


class Verdict(NamedTuple):
    """What became of one model: its largest difference, or why there is none."""

    seed: int
    difference: float
    problem: str  # empty, or what is wrong


def difference(found: Any, wanted: Any) -> float:
    """The largest over all values, relative to max(1, |value|); infinite where shapes, types or nests differ."""
    if form(found) != form(wanted):
        return np.inf
    largest = 0.0
    for ours, theirs in zip(leaves(found), map(np.asarray, leaves(wanted)), strict=True):
        if ours.shape != theirs.shape or ours.dtype != theirs.dtype or not np.isfinite(ours).all():
            return np.inf
        error = np.abs(ours.astype(float) - theirs) / np.maximum(1, np.abs(theirs))
        largest = max(largest, float(error.max(initial=0)))
    return largest


def wavering(found: Case) -> bool:
    """Whether Keras's own answer hangs on the last bits of its inputs and weights."""
    rng = np.random.default_rng(0)

    def nudged(array: Any) -> Any:
        if array.dtype.kind != "f":
            return array
        return array * (1 + rng.uniform(-2, 2, array.shape) * np.finfo(np.float32).eps).astype(array.dtype)

    inputs, weights = found.inputs, found.model.get_weights()
    largest = 0.0
    for _ in range(4):
        found.model.set_weights([nudged(w) for w in weights])
        moved = {k: nudged(x) for k, x in inputs.items()} if isinstance(inputs, dict) else inputs
        moved = [nudged(x) for x in inputs] if isinstance(inputs, list) else moved
        moved = nudged(inputs) if isinstance(inputs, np.ndarray) else moved
        again = found.model(moved, training=False)
        other = found.outputs[0]
        for a, b in zip(map(np.asarray, leaves(again)), map(np.asarray, leaves(other)), strict=True):
            largest = max(largest, float((np.abs(a - b) / np.maximum(1, np.abs(b))).max(initial=0)))
    found.model.set_weights(weights)
    return largest > BOUND / 4


def judged(kit: Kit, layout: str, seed: int) -> Verdict | None:
    """The model of this seed, carried over in this layout; None where there is no such model."""
    made = case(operators(kit) if layout == IN_CODE else kit, seed)
    if made is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        try:
            if layout == IN_CODE:
                ours, _ = drawn(own_kit(), seed)
                ours.set_weights(made.model.get_weights())
            else:
                ours = LAYOUTS[kit.generation][layout](made.model, Path(folder))
            found = [ours(made.inputs) for _ in made.outputs]
        except fastlstm.FastLSTMError as error:
            return Verdict(seed, np.nan, f"refused: {error}")
        except Exception as error:
            if "fastlstm" not in traceback_files(error):  # Keras cannot write it
                return None
            return Verdict(seed, np.nan, f"{type(error).__name__}: {error}")
    worst = max(difference(a, b) for a, b in zip(found, made.outputs, strict=True))
    bound = 1e-9 if made.double else BOUND
    if worst > bound and np.isfinite(worst) and worst < 0.05 and len(made.outputs) == 1 and wavering(made):
        return Verdict(seed, worst, WAVERS)
    return Verdict(seed, worst, f"differs by {worst:.1e}" if not worst <= bound else "")


def traceback_files(error: BaseException) -> str:
    """The packages that the error came through."""
    trace, files = error.__traceback__, ""
    while trace is not None:
        files += trace.tb_frame.f_globals.get("__name__", "") + " "
        trace = trace.tb_next
    return files


def verdicts(kit: Kit, library: Any, layout: str, count: int, first: int = 0) -> Iterator[Verdict]:
    """So many models in one layout; the few that only rounding decides are drawn again."""
    again = 2 + count // 20
    seed = first
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Keras, about what the models here do
        while count:
            if seed % 16 == 0:
                library.backend.clear_session()
            found = judged(kit, layout, seed)
            seed += 1
            if found is not None and found.problem == WAVERS:
                again -= 1
                assert again >= 0, f"{layout}: too many models whose answers waver"
            elif found is not None:
                count -= 1
                yield found


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    os.environ.update(KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")
    warnings.simplefilter("ignore")
    import keras

    libraries = [(keras_kit(keras), keras, [*LAYOUTS[3], IN_CODE])]
    try:
        import tf_keras

        libraries.append((tf_keras_kit(tf_keras), tf_keras, list(LAYOUTS[2])))
    except ImportError:
        print("tf_keras is not installed: no models of Keras 2")
    rows, number = [], 0
    for kit, library, layouts in libraries:
        for layout in layouts:
            number += 1
            worst, refused, wrong = 0.0, 0, 0
            for verdict in verdicts(kit, library, layout, count, 100_000 * number):
                worst = max(worst, np.nan_to_num(verdict.difference))
                refused += "refused" in verdict.problem
                wrong += bool(verdict.problem) and "refused" not in verdict.problem
                if verdict.problem:
                    print(f"Keras {kit.generation}, {layout}, seed {verdict.seed}: {verdict.problem}", flush=True)
            rows.append((f"{library.__name__} {library.__version__}", layout, count, worst, wrong, refused))
    print(f"{'writer':18} {'layout':20} {'models':>6} {'largest difference':>18} {'wrong':>6} {'refused':>8}")
    for writer, layout, models, worst, wrong, refused in rows:
        print(f"{writer:18} {layout:20} {models:6} {worst:18.1e} {wrong:6} {refused:8}")
    print(f"{'all':39} {sum(row[2] for row in rows):6} {max(row[3] for row in rows):18.1e}")
    return 1 if any(row[4] or row[5] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
