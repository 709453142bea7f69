"""fastlstm.tf1 gives what TensorFlow's own cells and functions give, for whatever they are told."""

import inspect
import subprocess
import sys

import numpy as np
import pytest
from conftest import RUNNABLE
from lstm_variants import oracle
from reference import rounding_bound
from tf1_oracle import assert_within_rounding, called, drawn_case, flat, kinds, ours, tensorflow, theirs

from fastlstm import FastLSTMError, tf1
from fastlstm.layers import LSTM
from fastlstm.layouts import gates, tf1_to_keras


@pytest.fixture
def tf(keras):
    return tensorflow()[0]


@pytest.mark.parametrize("block", range(5))
def test_a_hundred_and_twenty_drawn_calls(tf, block):
    rng = np.random.default_rng(6000 + block)
    cases = [drawn_case(rng) for _ in range(24)]
    (exact, names), (plain, _) = (theirs(cases, dtype) for dtype in ("float64", "float32"))
    for number, case in enumerate(cases):
        for dtype, beside in (("float32", plain), ("float64", exact)):
            cells = ours(case, isa=RUNNABLE[number % len(RUNNABLE)], dtype=dtype)
            own_names = [name for cell in cells for one in cell.cells() for name in one.weight_names]
            assert all(t.endswith(f"/{o}:0") for t, o in zip(names[number], own_names, strict=True))
            found = called(case, cells, tf1, np.asarray, tf1.LSTMStateTuple, dtype)
            assert kinds(found) == kinds(exact[number]), case
            reach = 1 if dtype == "float32" else 2  # TensorFlow's own float64 is rounded too
            try:
                assert_within_rounding(found, exact[number], beside[number], case.x.shape[1], reach)
            except AssertionError as error:
                raise AssertionError(f"{dtype} {case.function} {case.cells} {case.lengths}: {error}") from error


def drawn_block(rng, peephole):
    units, features, batch, steps = (int(rng.integers(1, n)) for n in (20, 10, 6, 8))
    shapes = [(features + units, 4 * units), (4 * units,), *[(units,)] * (3 if peephole else 0)]
    weights = [(rng.standard_normal(s) * (s[0] ** -0.5 if len(s) == 2 else 0.5)).astype("float32") for s in shapes]
    x = rng.standard_normal((steps, batch, features)).astype("float32")
    c, h = (rng.standard_normal((batch, units)).astype("float32") for _ in "ch")
    return weights, x, c, h


def block_arguments(weights, x, c, h):
    i, f, o = weights[2:] or [np.zeros_like(c[0])] * 3
    return {"x": x, "cs_prev": c, "h_prev": h, "w": weights[0], "b": weights[1], "wci": i, "wcf": f, "wco": o}


@pytest.mark.parametrize("peephole", [False, True])
def test_blocks_and_gates_are_those_of_the_op(tf, peephole):
    rng = np.random.default_rng(61)
    for _ in range(60):
        weights, x, c, h = drawn_block(rng, peephole)
        steps, batch, _ = x.shape
        forget_bias, clip = float(rng.choice([1, 0, 2.5])), rng.choice([None, -1.0, 0.4, 1.0])
        most = int(rng.integers(1, steps + 1))
        op = tf.raw_ops.BlockLSTM(
            seq_len_max=most, **block_arguments(weights, x, c, h), forget_bias=forget_bias, use_peephole=peephole,
            cell_clip=-1.0 if clip is None else clip,
        )  # fmt: skip
        options = {"forget_bias": forget_bias, "cell_clip": clip, "use_peephole": peephole}
        fused, cell = tf1.LSTMBlockFusedCell(len(c[0]), **options), tf1.LSTMBlockCell(len(c[0]), **options)
        for one in (fused, cell):
            one.set_weights(weights)

        y, state = fused(x, (c, h), sequence_length=[most] * batch)
        assert type(state) is tf1.LSTMStateTuple
        traced = traced_layer(weights, forget_bias, clip)
        exact, plain = (oracle(traced, x[:most].swapaxes(0, 1), [h, c], dtype=d) for d in (np.float64, np.float32))
        trace = traced(x[:most].swapaxes(0, 1), initial_state=[h, c])[3]
        for gate, own, e, p in zip(("i", "f", "ci", "o", "cs"), trace, exact[4], plain[4], strict=True):
            theirs = getattr(op, gate).numpy()[:most].swapaxes(0, 1)
            assert_within_rounding([own, theirs], [e, e], [p, p], steps)
        results = [y[:most].swapaxes(0, 1), state.h, state.c]
        assert_within_rounding(results, [exact[0], exact[2], exact[3]], [plain[0], plain[2], plain[3]], steps)
        assert_within_rounding([op.h.numpy()[:most].swapaxes(0, 1)], [exact[0]], [plain[0]], steps)
        assert not y[most:].any() and not op.h.numpy()[most:].any()

        listed, last = fused(list(x), (c, h), sequence_length=[most] * batch)
        assert np.array_equal(listed, y) and isinstance(listed, list) and np.array_equal(last, state)
        one_h, one = cell(x[0], tf1.LSTMStateTuple(c, h))
        assert np.array_equal(one_h, y[0]) and np.array_equal(one.h, y[0])


def traced_layer(weights, forget_bias, clip):
    """A layer that gives the gates, with a block's weights."""
    clip = None if clip is None or clip <= 0 else float(clip)
    layer = LSTM(len(weights[1]) // 4, return_sequences=True, return_state=True, return_gates=True, cell_clip=clip,
                 peepholes=len(weights) > 2)  # fmt: skip
    i, f, o = weights[2:] or [None] * 3
    layer.set_weights(tf1_to_keras(*weights[:2], f, i, o, forget_bias=forget_bias).as_list())
    return layer


def test_the_second_version_of_the_op_has_another_order_and_no_forget_bias(tf):
    weights, x, c, h = drawn_block(np.random.default_rng(62), True)
    cell = tf1.LSTMBlockFusedCell(len(c[0]), forget_bias=0, use_peephole=True, cell_clip=0.6)
    cell.set_weights(weights)
    y, _ = cell(x, (c, h))
    given = [gates(w, "tf1", "ifco") for w in weights[:2]] + weights[2:]
    op = tf.raw_ops.BlockLSTMV2(
        seq_len_max=len(x), **block_arguments(given, x, c, h), cell_clip=0.6, use_peephole=True
    )
    assert np.abs(y - op.h.numpy()).max() <= rounding_bound(y, y, len(x)).min()


def test_constructors_and_functions_have_tensorflows_arguments(tf):
    _, classes, functions = tensorflow()
    names = ("BasicLSTMCell", "LSTMCell", "MultiRNNCell")
    pairs = [(getattr(tf1, n).__init__, getattr(classes, n).__init__) for n in names]
    pairs += [(getattr(tf1, n), getattr(functions, n)) for n in vars(functions) if not n.startswith("stack")]
    for own, their in pairs:
        own, their = (inspect.signature(f).parameters.values() for f in (own, their))
        assert [(p.name, p.default) for p in own] == [(p.name, p.default) for p in their]


def test_importing_it_imports_no_tensorflow():
    code = "import sys, fastlstm.tf1; sys.exit(any(n.split('.')[0] in ('tensorflow', 'keras') for n in sys.modules))"
    assert subprocess.run([sys.executable, "-P", "-c", code]).returncode == 0


def test_sizes_and_zero_states():
    cell = tf1.LSTMCell(4, num_proj=3)
    assert cell.state_size == tf1.LSTMStateTuple(c=4, h=3) and cell.output_size == 3
    assert tf1.LSTMCell(4, num_proj=3, state_is_tuple=False).state_size == 7
    several = tf1.MultiRNNCell([cell, tf1.MultiRNNCell([tf1.BasicLSTMCell(2)])])
    assert several.state_size == ((4, 3), ((2, 2),)) and several.output_size == 2
    zeros = several.zero_state(5, "float64")
    assert kinds(zeros) == kinds(((cell.zero_state(1, "float32")), (tf1.LSTMStateTuple(0, 0),)))
    assert [z.shape for z in flat(zeros)] == [(5, 4), (5, 3), (5, 2), (5, 2)]
    assert all(z.dtype == np.float64 and not z.any() for z in flat(zeros))
    assert zeros[0].dtype == np.float64


def test_a_cell_without_variables_begins_as_tensorflows_does(rng):
    cell = tf1.LSTMCell(50, use_peepholes=True, num_proj=20)
    assert not cell.built and cell.get_weights() == []
    y, _ = tf1.static_rnn(cell, list(rng.standard_normal((3, 2, 30))), dtype="float32")
    kernel, bias, *diagonals, projection = cell.get_weights()
    assert len(y) == 3 and y[0].shape == (2, 20) and cell.built
    limit = (6 / (50 + 200)) ** 0.5  # glorot_uniform
    assert kernel.shape == (50, 200) and 0.9 * limit < np.abs(kernel).max() <= limit
    assert not bias.any() and [d.shape for d in diagonals] == [(50,)] * 3 and projection.shape == (50, 20)
    constant = tf1.LSTMCell(3, initializer=lambda shape, dtype: np.full(shape, 0.25))
    constant.build((None, 2))
    assert (constant.get_weights()[0] == 0.25).all()


def test_weights_go_in_and_out_unchanged(rng):
    cell = tf1.LSTMCell(4, use_peepholes=True)
    given = [rng.standard_normal(s) for s in cell.variable_shapes(3).values()]
    cell.set_weights(given)
    before, x = [w.copy() for w in given], rng.standard_normal((2, 5, 3))
    first = tf1.dynamic_rnn(cell, x)
    assert all(w.dtype == b.dtype for w, b in zip(cell.get_weights(), before, strict=True))
    assert_equal(cell.get_weights(), before)
    cell.set_weights(dict(zip(cell.weight_names, given, strict=True)))
    assert_equal(tf1.dynamic_rnn(cell, x), first)
    given[0][:] = 0  # the cell has its own
    assert_equal(tf1.dynamic_rnn(cell, x), first)
    short = [given[0][:, 1:], *given[1:]]
    for wrong in (given[:2], [*given, given[1]], short, [given[0], "x", *given[2:]], {"kernel": 1}):
        with pytest.raises(FastLSTMError, match="set_weights"):
            cell.set_weights(wrong)
    assert_equal(tf1.dynamic_rnn(cell, x), first)


def assert_equal(found, wanted):
    for f, w in zip(flat(found), flat(wanted), strict=True):
        assert np.array_equal(f, w)


def test_whole_numbers_and_tensorflows_own_objects_are_taken(tf, rng):
    x = rng.standard_normal((2, 3, 5))
    cell = tf1.LayerNormBasicLSTMCell(4, layer_norm=False, activation=tf.nn.relu)
    cell.set_weights([np.eye(9, 16, dtype=int), np.arange(16)])
    twin = tf1.BasicLSTMCell(4, activation="relu", dtype=tf.float32)
    twin.set_weights([np.eye(9, 16).tolist(), list(range(16))])
    assert_equal(tf1.dynamic_rnn(cell, tf.constant(x), sequence_length=tf.constant([3, 1])),
                 tf1.dynamic_rnn(twin, x, sequence_length=[3, 1], dtype=tf.float32))  # fmt: skip
    for function, name in ((tf.tanh, "tanh"), (tf.identity, "linear"), (tf.keras.activations.elu, "elu")):
        assert tf1.LSTMCell(2, activation=function).layer(1, None).activation.name == name
    drawn = tf1.LSTMCell(3, initializer=tf.compat.v1.random_uniform_initializer(0.5, 0.6))
    drawn.build((None, 2))
    assert ((drawn.get_weights()[0] >= 0.5) & (drawn.get_weights()[0] < 0.6)).all()


def test_shared_cells_and_one_step_in_many(rng):
    cell = tf1.BasicLSTMCell(4)
    twice = tf1.MultiRNNCell([cell, cell])
    x = rng.standard_normal((3, 6, 4)).astype("float32")
    y, state = tf1.dynamic_rnn(twice, x)
    first, _ = tf1.dynamic_rnn(cell, x)
    second, last = tf1.dynamic_rnn(cell, first)
    assert np.array_equal(y, second) and np.array_equal(state[1].c, last.c)


def test_threads_and_kernels_are_handed_on(rng, isa):
    cell = tf1.LSTMCell(5, isa=isa, threads=1)
    tf1.dynamic_rnn(cell, rng.standard_normal((1, 2, 3)))
    assert cell.layer(3, None).isa.startswith(isa) and cell.layer(3, None).threads == 1


def test_what_a_cell_computes_in_is_settled_once(rng):
    x = rng.standard_normal((2, 3, 4))
    cell = tf1.BasicLSTMCell(5)
    assert tf1.dynamic_rnn(cell, x, dtype=np.float64)[0].dtype == np.float64
    assert cell(x[:, 0], cell.zero_state(2, "float32"))[0].dtype == np.float64
    with pytest.raises(FastLSTMError, match="computes in float64; dtype is float32"):
        tf1.dynamic_rnn(cell, x, dtype="float32")
    assert tf1.dynamic_rnn(tf1.BasicLSTMCell(5), x)[0].dtype == np.float32


WRONG = [
    ("num_units", 0), ("num_units", True), ("num_units", "4"), ("forget_bias", "1"), ("forget_bias", float("nan")),
    ("forget_bias", True), ("forget_bias", 10**400), ("state_is_tuple", None), ("activation", "tahn"),
    ("dtype", "int8"), ("name", 3), ("unknown", 1),
    ("use_peepholes", "yes"), ("cell_clip", 0), ("cell_clip", -1.0), ("cell_clip", [1]), ("num_proj", 0),
    ("num_proj", 2.5), ("proj_clip", "x"), ("initializer", 5), ("isa", "sse9"), ("threads", 0), ("precision", "int3"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG, ids=str)
def test_wrong_arguments_are_refused_by_name(name, value):
    with pytest.raises(FastLSTMError, match=name):
        tf1.LSTMCell(**{"num_units": 4, name: value})


def test_wrong_calls_are_refused():
    cell, x = tf1.BasicLSTMCell(4), np.zeros((2, 3, 5), np.float32)
    tf1.dynamic_rnn(cell, x)
    state = cell.zero_state(2, "float32")
    calls = [
        ("cell is 5", lambda: tf1.dynamic_rnn(5, x)),
        ("cell is", lambda: tf1.dynamic_rnn(tf1.LSTMBlockFusedCell(3), x)),
        ("cell is None", lambda: tf1.bidirectional_dynamic_rnn(cell, None, x)),
        ("inputs have shape", lambda: tf1.dynamic_rnn(cell, x[0])),
        ("inputs has dtype", lambda: tf1.dynamic_rnn(cell, [[["a"]]])),
        ("inputs have 4 features; expected 5", lambda: tf1.dynamic_rnn(cell, x[:, :, 1:])),
        ("state has 2 parts", lambda: tf1.dynamic_rnn(tf1.MultiRNNCell([cell]), x, initial_state=state)),
        ("state is LSTMStateTuple|state c has shape", lambda: tf1.dynamic_rnn(cell, x, initial_state=(state, state))),
        ("state c has shape", lambda: tf1.dynamic_rnn(cell, x, initial_state=(state.c[1:], state.h))),
        ("expected .c, h.", lambda: tf1.dynamic_rnn(cell, x, initial_state=3)),
        ("sequence_length", lambda: tf1.dynamic_rnn(cell, x, sequence_length=[4, 1])),
        ("sequence_length", lambda: tf1.dynamic_rnn(cell, x, sequence_length=[-1, 1])),
        ("sequence_length", lambda: tf1.dynamic_rnn(cell, x, sequence_length=[1.0, 2.0])),
        ("sequence_length", lambda: tf1.dynamic_rnn(cell, x, sequence_length=[1])),
        ("expected a list", lambda: tf1.static_rnn(cell, x)),
        ("expected a list", lambda: tf1.static_rnn(cell, [])),
        ("one shape", lambda: tf1.static_rnn(cell, [x[:, 0], x[:1, 0]])),
        ("inputs .batch, features. and a state", lambda: cell(x, state)),
        ("no state", lambda: cell(x[:, 0], None)),
        ("batch_size", lambda: cell.zero_state(-1, "float32")),
        ("cells is", lambda: tf1.MultiRNNCell([])),
        ("cells.1. is 3", lambda: tf1.MultiRNNCell([cell, 3])),
        ("not of each", lambda: tf1.MultiRNNCell([cell], state_is_tuple=False)),
        ("cells_bw", lambda: tf1.stack_bidirectional_dynamic_rnn([cell], [], x)),
        ("initial_states_fw", lambda: tf1.stack_bidirectional_dynamic_rnn([cell], [cell], x, initial_states_fw=[1, 2])),
        ("get|got 1 arrays", lambda: tf1.MultiRNNCell([cell]).set_weights([1])),
    ]  # fmt: skip
    for message, call in calls:
        with pytest.raises(FastLSTMError, match=message):
            call()


DOUBLE = "float64"


def test_open_cells_compute_as_the_others_or_as_the_state(tf, rng):
    x = rng.standard_normal((2, 3, 4))
    for own in ((DOUBLE, None), (None, DOUBLE)):
        cell = tf1.MultiRNNCell([tf1.BasicLSTMCell(4, dtype=d) for d in own])
        y, state = tf1.dynamic_rnn(cell, x)
        assert {y.dtype, *(a.dtype for a in flat(state))} == {np.dtype(DOUBLE)}
        assert [one.dtype for one in cell.cells()] == [DOUBLE] * 2
        (forward, backward), _ = tf1.bidirectional_dynamic_rnn(*(tf1.BasicLSTMCell(4, dtype=d) for d in own), x)
        assert forward.dtype == backward.dtype == np.float64
    pairs = [[tf1.BasicLSTMCell(4) for _ in range(2)] for _ in range(2)]
    pairs[1][0].dtype = DOUBLE
    assert tf1.stack_bidirectional_dynamic_rnn(*pairs, x)[0].dtype == np.float64
    for zeros in (tf1.BasicLSTMCell(5).zero_state(2, DOUBLE), (tf.zeros((2, 5), DOUBLE),) * 2):
        assert tf1.dynamic_rnn(tf1.BasicLSTMCell(5), x, initial_state=zeros)[0].dtype == np.float64
        assert tf1.BasicLSTMCell(5)(x[:, 0], zeros)[0].dtype == np.float64
        assert tf1.LSTMBlockFusedCell(5)(x.swapaxes(0, 1), zeros)[0].dtype == np.float64
    cell = tf1.BasicLSTMCell(5)
    assert tf1.dynamic_rnn(cell, x, initial_state=cell.zero_state(2, "float32"))[0].dtype == np.float32
    mixed = tf1.MultiRNNCell([tf1.BasicLSTMCell(4, dtype=d) for d in ("float32", DOUBLE)])
    assert tf1.dynamic_rnn(mixed, x)[0].dtype == np.float64
    assert [one.dtype for one in mixed.cells()] == ["float32", DOUBLE]


def test_each_new_variable_has_numbers_of_its_own():
    cell = tf1.MultiRNNCell([tf1.LSTMCell(4, use_peepholes=True, dtype="float32") for _ in range(2)])
    tf1.dynamic_rnn(cell, np.zeros((1, 1, 4)))
    arrays = [a.tobytes() for a in cell.get_weights() if a.any()]
    assert len(arrays) == len(set(arrays)) == 8
    for name in ("weights", "variables", "trainable_weights", "trainable_variables"):
        assert_equal(getattr(cell, name), cell.get_weights())
        assert_equal(getattr(cell.cells()[1], name), cell.get_weights()[5:])


def test_dropout_of_nothing_is_the_cell_and_no_rows_are_a_batch(rng):
    cell = tf1.BasicLSTMCell(4)
    assert tf1.DropoutWrapper(cell, 1.0, np.float32(1), state_keep_prob=1, seed=3, dtype="float32") is cell
    state = cell.zero_state(0, "float32")
    assert state.c.shape == (0, 4)
    y, after = tf1.dynamic_rnn(cell, rng.standard_normal((0, 3, 5)), initial_state=state)
    assert y.shape == (0, 3, 4) and after.h.shape == (0, 4)


def test_hard_sigmoid_is_that_of_the_keras_it_comes_from(keras):
    tf_keras = pytest.importorskip("tf_keras")
    for function, name in ((tf_keras.activations.hard_sigmoid, "hard_sigmoid_keras2"),
                           (keras.activations.hard_sigmoid, "hard_sigmoid")):  # fmt: skip
        assert tf1.LSTMCell(2, activation=function).layer(1).activation.name == name
        assert LSTM(2, recurrent_activation=function).recurrent_activation.name == name
