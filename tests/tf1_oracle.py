"""TensorFlow's own legacy cells in graphs of TensorFlow 1, beside ours: the same calls of either, drawn."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from reference import rounding_bound

from fastlstm import tf1

ACTIVATIONS = (None, "tanh", "relu", "sigmoid", "softsign", "softplus", "elu", "hard_sigmoid", "linear")
PAIRED = ("bidirectional_dynamic_rnn", "static_bidirectional_rnn", "stack_bidirectional_dynamic_rnn")
STATIC = ("static_rnn", "static_bidirectional_rnn", "steps")


class Case(NamedTuple):
    """One call: cells, each a list of (class, arguments), as many as the function takes; and what it is called on."""

    function: str
    cells: list[list[tuple[str, dict[str, Any]]]]
    state_is_tuple: bool
    weights: list[np.ndarray]
    x: np.ndarray  # (batch, steps, features)
    lengths: np.ndarray | None
    states: list[Any] | None
    time_major: bool


def drawn_case(rng):
    choose = lambda *values: values[int(rng.integers(len(values)))]  # noqa: E731
    function = choose(*["dynamic_rnn"] * 4, "static_rnn", "steps", *PAIRED)
    count = {"stack_bidirectional_dynamic_rnn": 4}.get(function, 2 if function in PAIRED else 1)
    state_is_tuple = rng.random() < 0.8
    cells = [[_drawn_cell(rng, choose, state_is_tuple) for _ in range(choose(1, 1, 1, 2, 3))] for _ in range(count)]
    batch, steps, features = (int(rng.integers(1, most)) for most in (6, 8, 12))
    case = Case(function, cells, state_is_tuple, [], rng.standard_normal((batch, steps, features)), None, None,
                function not in STATIC and rng.random() < 0.4)  # fmt: skip
    weights = []
    width = features
    for number, one in enumerate(ours(case)):
        wide = width
        for cell in one.cells():
            weights += [rng.standard_normal(s) * _scale(n, s) for n, s in cell.variable_shapes(wide).items()]
            wide = cell.output_size
        if function == "stack_bidirectional_dynamic_rnn" and number % 2:
            width = sum(c.output_size for c in ours(case)[number - 1 : number + 1])
    lengths = rng.integers(0, steps + 1, batch) if function != "steps" and rng.random() < 0.6 else None
    states = [_drawn_state(rng, one.zero_state(batch, "float64")) for one in ours(case)]
    return case._replace(weights=weights, lengths=lengths, states=states if rng.random() < 0.5 else None)


def _drawn_cell(rng, choose, state_is_tuple):
    options = {
        "num_units": int(rng.integers(1, 12)), "forget_bias": choose(1.0, 1.0, 0.0, -0.5, 2.5),
        "state_is_tuple": state_is_tuple, "activation": choose(None, None, *ACTIVATIONS),
    }  # fmt: skip
    if rng.random() < 0.3:
        return "BasicLSTMCell", options
    options |= {
        "use_peepholes": rng.random() < 0.5, "cell_clip": choose(None, float(rng.uniform(0.2, 1.5))),
        "num_proj": choose(None, int(rng.integers(1, 10))), "proj_clip": choose(None, float(rng.uniform(0.1, 1))),
    }  # fmt: skip
    return "LSTMCell", options


def _scale(name, shape):
    return shape[0] ** -0.5 if name.endswith("kernel") else 0.5


def _drawn_state(rng, zeros):
    return map_nest(lambda a: rng.standard_normal(a.shape), zeros, tf1.LSTMStateTuple)


def map_nest(function, nest, pair):
    """The nest with ``function`` of each leaf; tuples of c and h become ``pair``."""
    if not isinstance(nest, tuple | list):
        return function(nest)
    parts = [map_nest(function, part, pair) for part in nest]
    return pair(*parts) if hasattr(nest, "_fields") else type(nest)(parts)


def flat(nest):
    """The arrays in a nest, in order."""
    return [a for part in nest for a in flat(part)] if isinstance(nest, tuple | list) else [np.asarray(nest)]


def kinds(nest):
    """The nest without its arrays: how it is made of tuples and lists."""
    if not isinstance(nest, tuple | list):
        return "array"
    return type(nest).__name__, [kinds(part) for part in nest]


def made(case, classes, **options):
    """The cells of a case, of these classes."""
    found = []
    for cell in case.cells:
        parts = [getattr(classes, name)(**arguments, **options) for name, arguments in cell]
        several = len(parts) > 1
        found.append(classes.MultiRNNCell(parts, state_is_tuple=case.state_is_tuple) if several else parts[0])
    return found


def ours(case, **options):
    """Our cells of a case, with its weights where it has them."""
    cells = made(case, tf1, **options)
    weights = iter(case.weights)
    for cell in cells if case.weights else ():
        for one in cell.cells():
            one.set_weights([next(weights) for _ in one.weight_names])
    return cells


def called(case, cells, functions, as_array, pair, dtype):
    """What a system's function gives for a case."""
    x = case.x.swapaxes(0, 1) if case.time_major else case.x
    steps = [as_array(np.ascontiguousarray(case.x[:, t])) for t in range(case.x.shape[1])]
    states = None if case.states is None else [map_nest(as_array, state, pair) for state in case.states]
    if case.function == "steps":
        state = cells[0].zero_state(len(case.x), dtype) if states is None else states[0]
        outputs = []
        for step in steps:
            y, state = cells[0](step, state)
            outputs.append(y)
        return outputs, state
    arguments = {"dtype": dtype, "sequence_length": case.lengths}
    if case.function == "stack_bidirectional_dynamic_rnn":
        halves = [None, None] if states is None else [states[::2], states[1::2]]
        return functions.stack_bidirectional_dynamic_rnn(
            cells[::2], cells[1::2], as_array(x), *halves, **arguments, time_major=case.time_major
        )
    names = ("initial_state_fw", "initial_state_bw") if case.function in PAIRED else ("initial_state",)
    arguments |= {} if states is None else dict(zip(names, states, strict=True))
    if case.function in STATIC:
        return getattr(functions, case.function)(*cells, steps, **arguments)
    return getattr(functions, case.function)(*cells, as_array(x), **arguments, time_major=case.time_major)


@contextmanager
def quiet():
    """TensorFlow warns of what it deprecates, each cell that is made."""
    import tensorflow as tf

    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logger.setLevel(level)


def tensorflow():
    """TensorFlow's classes and functions, by the names that ours have."""
    import tensorflow as tf
    from tensorflow.python.keras.layers.legacy_rnn import rnn_cell_impl

    nn = tf.compat.v1.nn

    def stack(cells_fw, cells_bw, inputs, states_fw=None, states_bw=None, *, time_major, **arguments):
        after = []
        for k, pair in enumerate(zip(cells_fw, cells_bw, strict=True)):
            before = {} if states_fw is None else {"initial_state_fw": states_fw[k], "initial_state_bw": states_bw[k]}
            outputs, states = nn.bidirectional_dynamic_rnn(
                *pair, inputs, time_major=time_major, scope=f"pair_{k}", **before, **arguments
            )
            inputs = tf.concat(outputs, -1)
            after.append(states)
        return inputs, *zip(*after, strict=True)

    names = ("dynamic_rnn", "static_rnn", "bidirectional_dynamic_rnn", "static_bidirectional_rnn")
    functions = SimpleNamespace(**{n: getattr(nn, n) for n in names}, stack_bidirectional_dynamic_rnn=stack)
    return tf, rnn_cell_impl, functions


def theirs(cases, dtype):
    """What TensorFlow gives for each case in one dtype, and the names of the variables that it made."""
    tf, classes, functions = tensorflow()
    v1 = tf.compat.v1
    found, names, feeds = [], [], []
    plain = v1.ConfigProto()
    plain.graph_options.rewrite_options.disable_meta_optimizer = True  # which takes as long as making the graph
    with tf.Graph().as_default(), quiet(), v1.Session(config=plain) as session:
        for number, case in enumerate(cases):
            with v1.variable_scope(f"case{number}"):
                cells = made(case, classes, dtype=dtype)
                as_array = lambda a: tf.constant(a, dtype)  # noqa: E731
                found.append(called(case, cells, functions, as_array, classes.LSTMStateTuple, tf.as_dtype(dtype)))
            variables = v1.global_variables(f"case{number}/")
            names.append([variable.name for variable in variables])
            feeds += zip(variables, case.weights, strict=True)
        assert all(variable.shape == value.shape for variable, value in feeds)
        # One run for all: each one of its own would go over the whole graph first.
        session.run([v.initializer for v, _ in feeds], {v.initializer.inputs[1]: value for v, value in feeds})
        return session.run(found), names


def assert_within_rounding(found, exact, plain, steps, reach=1):
    """As near to float64 as a plain computation in the same dtype is."""
    assert len(flat(found)) == len(flat(exact))
    for f, e, p in zip(flat(found), flat(exact), flat(plain), strict=True):
        assert f.shape == e.shape and f.dtype == p.dtype
        bound = reach * rounding_bound(e.astype(np.float64), p, steps)
        assert (np.abs(f - e) <= bound).all(), float(np.abs(f - e).max())
