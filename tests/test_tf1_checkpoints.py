"""Cells find their variables in the checkpoints that TensorFlow 1 and 2 write, and say so where they do not."""

import numpy as np
import pytest
from tf1_oracle import flat, quiet, tensorflow

from fastlstm import FastLSTMError, ModelFileError, tf1

X = np.random.default_rng(9).standard_normal((2, 4, 5)).astype(np.float32)


def saved(path, build, names=None):
    """A checkpoint that TensorFlow 1's Saver writes of what ``build`` makes, and what that gives for X."""
    tf, classes, functions = tensorflow()
    v1 = tf.compat.v1
    with tf.Graph().as_default(), quiet(), v1.Session() as session:
        result = build(classes, functions, tf.constant(X))
        v1.train.AdamOptimizer().minimize(tf.reduce_sum(result[0][0]))  # whose slots stand beside the variables
        session.run(v1.global_variables_initializer())
        for variable in v1.trainable_variables():  # biases and peepholes of zeros would hide a mistake
            variable.load(session.run(variable) + 0.1 * np.arange(variable.shape[-1]) - 0.3, session)
        variables = v1.global_variables()
        given = None if names is None else {names(v.op.name): v for v in variables}
        return v1.train.Saver(given).save(session, str(path / "model.ckpt"), global_step=12), session.run(result)


def assert_same(found, wanted):
    for f, w in zip(flat(found), flat(wanted), strict=True):
        assert np.abs(f - w).max() < 64 * np.finfo(np.float32).eps


@pytest.fixture(autouse=True)
def live(keras):
    """TensorFlow is started in the one way that the tests share."""


SINGLE = {
    "basic": ("BasicLSTMCell", {}, "rnn/basic_lstm_cell"),
    "no forget bias": ("BasicLSTMCell", {"forget_bias": 0.0}, "rnn/basic_lstm_cell"),
    "plain": ("LSTMCell", {}, "lstm_cell"),
    "everything": ("LSTMCell", {"use_peepholes": True, "num_proj": 3, "cell_clip": 0.5, "proj_clip": 0.2}, "rnn"),
}


@pytest.mark.parametrize("kind", SINGLE)
@pytest.mark.parametrize("scoped", [False, True])
def test_one_cell(tmp_path, kind, scoped):
    name, options, scope = SINGLE[kind]
    path, wanted = saved(
        tmp_path, lambda classes, nn, x: nn.dynamic_rnn(getattr(classes, name)(4, **options), x, dtype="float32")
    )
    cell = getattr(tf1, name)(4, **options)
    cell.load_checkpoint(path, scope if scoped else "")
    assert_same(tf1.dynamic_rnn(cell, X), wanted)


def test_cells_on_top_of_each_other(tmp_path):
    def several(classes):
        cells = [classes.LSTMCell(4, num_proj=3), classes.BasicLSTMCell(4), classes.BasicLSTMCell(4)]
        return classes.MultiRNNCell(cells)

    path, wanted = saved(tmp_path, lambda classes, nn, x: nn.dynamic_rnn(several(classes), x, dtype="float32"))
    cell = several(tf1)
    cell.load_checkpoint(path)
    assert_same(tf1.dynamic_rnn(cell, X), wanted)
    assert len(cell.get_weights()) == 7
    twin = several(tf1)
    twin.set_weights(cell.get_weights())
    assert_same(tf1.dynamic_rnn(twin, X), wanted)


def test_both_directions_and_pairs_of_them(tmp_path):
    def both(classes):
        return [classes.LSTMCell(4, use_peepholes=True) for _ in range(2)]

    path, wanted = saved(
        tmp_path, lambda classes, nn, x: nn.bidirectional_dynamic_rnn(*both(classes), x, [4, 2], dtype="float32")
    )
    forward, backward = both(tf1)
    forward.load_checkpoint(path, "bidirectional_rnn/fw")
    backward.load_checkpoint(path, "bw")
    assert_same(tf1.bidirectional_dynamic_rnn(forward, backward, X, [4, 2]), wanted)
    with pytest.raises(ModelFileError, match=r"fits several places: bidirectional_rnn/bw/lstm_cell, bidirec.* scope"):
        forward.load_checkpoint(path)
    with pytest.raises(ModelFileError, match="under 'elsewhere'"):
        forward.load_checkpoint(path, "elsewhere")


def test_old_names(tmp_path):
    path, wanted = saved(
        tmp_path,
        lambda classes, nn, x: nn.dynamic_rnn(classes.LSTMCell(4, num_proj=3), x, dtype="float32"),
        lambda name: name.replace("kernel", "weights").replace("bias", "biases"),
    )
    cell = tf1.LSTMCell(4, num_proj=3)
    cell.load_checkpoint(path)
    assert_same(tf1.dynamic_rnn(cell, X), wanted)


def test_a_checkpoint_of_objects(tmp_path):
    tf, classes, _ = tensorflow()
    with quiet():
        theirs = classes.MultiRNNCell([classes.LSTMCell(4, use_peepholes=True), classes.BasicLSTMCell(3)])
        state = theirs.zero_state(2, tf.float32)
        wanted = theirs(tf.constant(X[:, 0]), state)
        path = tf.train.Checkpoint(cell=theirs).save(tmp_path / "objects")
    cell = tf1.MultiRNNCell([tf1.LSTMCell(4, use_peepholes=True), tf1.BasicLSTMCell(3)])
    cell.load_checkpoint(path, "cell")
    assert_same(cell(X[:, 0], cell.zero_state(2, "float32")), wanted)


def mapped(cell, scope, features=5):
    """A checkpoint as a mapping, with drawn values."""
    rng = np.random.default_rng(3)
    return {f"{scope}/{n}": rng.standard_normal(s) for n, s in cell.variable_shapes(features).items()}


def test_every_class_takes_a_mapping():
    cells = [
        tf1.BasicLSTMCell(3), tf1.LSTMBlockCell(3, use_peephole=True), tf1.LSTMBlockFusedCell(3),
        tf1.LayerNormBasicLSTMCell(3), tf1.CoupledInputForgetGateLSTMCell(3, use_peepholes=True, num_proj=2),
        tf1.CoupledInputForgetGateLSTMCell(3, layer_norm=True), tf1.CudnnCompatibleLSTMCell(3),
    ]  # fmt: skip
    for cell in cells:
        given = mapped(cell, f"a/{cell.name}")
        cell.load_checkpoint({"other/kernel": np.ones(3), **given}, "a")
        assert all(np.array_equal(f, w) for f, w in zip(cell.get_weights(), given.values(), strict=True))


@pytest.mark.parametrize("direction", ["unidirectional", "bidirectional"])
def test_what_cudnn_trained(direction):
    module = tf1.CudnnLSTM(2, 3, direction=direction)
    ways = ["bidirectional_rnn/fw/", "bidirectional_rnn/bw/"] if direction == "bidirectional" else [""]
    root = "stack_bidirectional_rnn" if direction == "bidirectional" else "rnn/multi_rnn_cell"
    given = {}
    for number, features in enumerate((5, 3 * len(ways))):
        for way in ways:
            scope = f"{root}/cell_{number}/{way}cudnn_compatible_lstm_cell"
            given |= mapped(tf1.CudnnCompatibleLSTMCell(3), scope, features)
    module.load_checkpoint(given)
    found = [array for layer in module.cells for cell in layer for array in cell.get_weights()]
    assert all(np.array_equal(f, w) for f, w in zip(found, given.values(), strict=True))
    if direction == "unidirectional":
        with pytest.raises(ModelFileError, match=r"forget_bias 0; the cell's is 1\.0"):
            tf1.MultiRNNCell([tf1.BasicLSTMCell(3), tf1.BasicLSTMCell(3)]).load_checkpoint(given)
        plain = tf1.MultiRNNCell([tf1.BasicLSTMCell(3, forget_bias=0) for _ in range(2)])
        plain.load_checkpoint(given)
        assert np.array_equal(tf1.dynamic_rnn(plain, X)[0], module(X, time_major=False)[0])


MISFITS = [
    (tf1.LSTMCell(4, use_peepholes=True), "has kernel of shape .8, 12.; expected .8, 16."),
    (tf1.BasicLSTMCell(3), "also has w_f_diag, w_i_diag, w_o_diag, for which the cell needs other arguments"),
    (tf1.LSTMCell(3, num_proj=2), "has no projection/kernel"),
    (tf1.LayerNormBasicLSTMCell(3), "has no input/gamma"),
    (tf1.CoupledInputForgetGateLSTMCell(3), "the names are rnn/lstm_cell/bias, rnn/lstm_cell/kernel"),
    (tf1.MultiRNNCell([tf1.LSTMCell(3, use_peepholes=True)]), r"as cell \(0,\) is not there"),
]


@pytest.mark.parametrize(("cell", "message"), MISFITS, ids=[m[:24] for _, m in MISFITS])
def test_what_does_not_fit_is_said(cell, message):
    given = mapped(tf1.LSTMCell(3, use_peepholes=True), "rnn/lstm_cell")
    with pytest.raises(ModelFileError, match=message):
        cell.load_checkpoint(given)
    with pytest.raises(ModelFileError, match="the names are none"):
        cell.load_checkpoint({})


def test_all_cells_are_loaded_or_none():
    cells = [tf1.BasicLSTMCell(3), tf1.BasicLSTMCell(4)]
    given = mapped(cells[0], "cell_0/x") | mapped(cells[1], "cell_1/x", 3) | {"cell_1/x/bias": np.array(["a"] * 16)}
    with pytest.raises(FastLSTMError, match="bias"):
        tf1.MultiRNNCell(cells).load_checkpoint(given)
    assert not cells[0].built
    for wrong in (3, None, [1]):
        with pytest.raises(FastLSTMError, match="expected a path or a mapping"):
            cells[0].load_checkpoint(wrong)
    with pytest.raises(FastLSTMError, match="scope 3"):
        cells[0].load_checkpoint(given, 3)
    with pytest.raises(ModelFileError, match=r"nowhere.*cannot be read"):
        cells[0].load_checkpoint("nowhere/model.ckpt")


def test_a_cell_that_is_there_twice_is_loaded_once(tmp_path):
    def twice(classes):
        return classes.MultiRNNCell([classes.BasicLSTMCell(5)] * 2)

    path, wanted = saved(tmp_path, lambda classes, nn, x: nn.dynamic_rnn(twice(classes), x, dtype="float32"))
    cell = twice(tf1)
    cell.load_checkpoint(path)
    assert_same(tf1.dynamic_rnn(cell, X), wanted)

    one = cell.cells()[0]
    alike = {name.replace("0", str(n)): a for n in range(2) for name, a in mapped(one, "r/cell_0/x").items()}
    cell.load_checkpoint(alike)
    assert np.array_equal(one.get_weights()[0], alike["r/cell_1/x/kernel"])
    before = one.get_weights()
    with pytest.raises(ModelFileError, match=r"is one cell, but .* r/cell_0/x, r/cell_1/x; make a cell for each"):
        cell.load_checkpoint({**alike, "r/cell_1/x/bias": np.arange(20)})
    with pytest.raises(ModelFileError, match=r"as cell \(0,\) is not there"):
        cell.load_checkpoint(mapped(one, "r/cell_2/x"))
    assert all(np.array_equal(a, b) for a, b in zip(one.get_weights(), before, strict=True))


def test_a_dense_layer_is_not_taken_for_a_cell():
    given = mapped(tf1.BasicLSTMCell(4), "rnn/lstm_cell") | mapped(tf1.BasicLSTMCell(3), "dense")
    cell = tf1.BasicLSTMCell(3)
    with pytest.raises(ModelFileError, match=r"fits 'dense', .* no cell: 'rnn/lstm_cell' has kernel of shape .9, 16."):
        cell.load_checkpoint(given)
    cell.load_checkpoint(given, "dense")  # where that is what the program calls it
    named = tf1.BasicLSTMCell(3, name="dense")
    named.load_checkpoint(given)
    assert np.array_equal(named.get_weights()[0], cell.get_weights()[0])


def numbered(scope, cells=2):
    """Variables of so many cells of five units on five features, different ones for each name."""
    made = tf1.LSTMCell(5)
    found = {}
    for number in range(cells):
        found |= mapped(made, f"{scope}/cell_{number}/lstm_cell")
    return {name: array + (sum(map(ord, name)) % 97) for name, array in found.items()}


def test_cells_in_the_cells_of_others():
    pair = lambda: tf1.MultiRNNCell([tf1.LSTMCell(5), tf1.LSTMCell(5)])  # noqa: E731
    roots = [f"s/cell_{number}/bidirectional_rnn/fw/multi_rnn_cell" for number in range(2)]
    given = numbered(roots[0]) | numbered(roots[1])
    for root in roots:
        cell = pair()
        cell.load_checkpoint(given, root)
        wanted = [array for name, array in given.items() if name.startswith(root)]
        assert all(np.array_equal(f, w) for f, w in zip(cell.get_weights(), wanted, strict=True))
    with pytest.raises(ModelFileError, match="fits several places"):
        pair().load_checkpoint(given)

    outer = numbered("rnn/multi_rnn_cell")
    given = numbered("rnn/multi_rnn_cell/cell_0/multi_rnn_cell") | {n: a for n, a in outer.items() if "cell_1" in n}
    for scope in ("", "rnn"):
        nest = tf1.MultiRNNCell([pair(), tf1.LSTMCell(5)])
        nest.load_checkpoint(given, scope)
        assert all(np.array_equal(f, w) for f, w in zip(nest.get_weights(), given.values(), strict=True))
    with pytest.raises(ModelFileError, match=r"as cell \(1,\) is not there; found: 'rnn/multi_rnn_cell/cell_1/lstm"):
        tf1.MultiRNNCell([pair(), tf1.LSTMCell(6)]).load_checkpoint(given)
    with pytest.raises(ModelFileError, match="fits several places"):
        pair().load_checkpoint(numbered("enc/cell_3/multi_rnn_cell") | numbered("dec/multi_rnn_cell"))


def test_names_of_variables_with_their_output():
    cell = tf1.BasicLSTMCell(3)
    given = mapped(cell, "rnn/basic_lstm_cell")
    cell.load_checkpoint({f"{name}:0": array for name, array in given.items()} | {"text": ["a", [1]]})
    assert all(np.array_equal(f, w) for f, w in zip(cell.get_weights(), given.values(), strict=True))
