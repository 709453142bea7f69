"""Whatever fastlstm.tf1 is given, what it refuses it refuses by name, and nothing is changed by that."""

import numpy as np
import pytest
from tf1_oracle import quiet, tensorflow

from fastlstm import FastLSTMError, tf1

X = np.random.default_rng(4).standard_normal((2, 3, 5)).astype("float32")
RAGGED = [[1], [2, 3]]


class Own(tf1.RNNCell):
    """A class that a program derived."""

    def __call__(self, inputs, state, scope=None):
        return inputs, state


def cell(**options):
    made = tf1.BasicLSTMCell(4, **options)
    made.build((None, 5))
    return made


def several(**options):
    return tf1.MultiRNNCell([cell(**options)], **options)


one = {"state_is_tuple": False}
CALLS = [
    ("set_weights: weights is None", lambda: cell().set_weights(None)),
    ("set_weights: weights is 5", lambda: cell().set_weights(5)),
    ("set_weights: kernel is no array", lambda: cell().set_weights("ab")),
    ("set_weights: kernel is no array", lambda: cell().set_weights([[[1, 2], [3]], [1]])),
    ("set_weights got .'3', 'kernel'.; expected kernel, bias", lambda: cell().set_weights({"kernel": 1, 3: 2})),
    ("MultiRNNCell: set_weights: weights is None", lambda: several().set_weights(None)),
    ("MultiRNNCell: set_weights: weights is 5", lambda: several().set_weights(5)),
    ("inputs_shape is None; expected .batch, features.", lambda: cell().build(None)),
    ("inputs_shape is 5; expected .batch, features.", lambda: cell().build(5)),
    ("last size of inputs_shape is None", lambda: cell().build(())),
    ("dynamic_rnn: cell is .*Own", lambda: tf1.dynamic_rnn(Own(), X)),
    ("MultiRNNCell: cells.1. is .*Own", lambda: tf1.MultiRNNCell([cell(), Own()])),
    ("Own: expected an LSTM cell", lambda: Own().zero_state(2, "float32")),
    ("RNNCell: expected an LSTM cell", lambda: tf1.RNNCell()(X[:, 0], 1)),
    ("RNNCell: expected an LSTM cell", lambda: tf1.RNNCell().output_size),
    ("RNNCell: expected an LSTM cell", lambda: tf1.RNNCell().weights),
    ("DropoutWrapper: cell is .*Own", lambda: tf1.DropoutWrapper(Own())),
    ("DropoutWrapper: output_keep_prob is 0.5", lambda: tf1.DropoutWrapper(cell(), 1, 0.5)),
    ("DropoutWrapper: state_keep_prob is 'x'", lambda: tf1.DropoutWrapper(cell(), state_keep_prob="x")),
    ("static_rnn: inputs is not an array", lambda: tf1.static_rnn(cell(), [[[1, 2], [3]]])),
    ("static_rnn: inputs has dtype", lambda: tf1.static_rnn(cell(), [[["a"] * 5] * 2])),
    ("static_bidirectional_rnn: inputs has", lambda: tf1.static_bidirectional_rnn(cell(), cell(), [[["a"] * 5] * 2])),
    ("dynamic_rnn: time_major is 'no'", lambda: tf1.dynamic_rnn(cell(), X, time_major="no")),
    ("time_major is array", lambda: tf1.dynamic_rnn(cell(), X, time_major=np.array([1, 2]))),
    ("time_major is 'no'", lambda: tf1.bidirectional_dynamic_rnn(cell(), cell(), X, time_major="no")),
    ("time_major is 'no'", lambda: tf1.stack_bidirectional_dynamic_rnn([cell()], [cell()], X, time_major="no")),
    ("stack_bi.*: cell is None", lambda: tf1.stack_bidirectional_dynamic_rnn([cell()], [None], X)),
    ("sequence_length.* is not an array", lambda: tf1.dynamic_rnn(cell(), X, [[1], [1, 2]])),
    ("state c is not an array", lambda: tf1.dynamic_rnn(cell(), X, None, (RAGGED, RAGGED))),
    ("state is not an array", lambda: tf1.dynamic_rnn(cell(**one), X, None, RAGGED)),
    ("MultiRNNCell: state is not an array", lambda: tf1.dynamic_rnn(several(**one), X, None, RAGGED)),
    ("batch_size is 10000", lambda: cell().zero_state(10**30, "float32")),
    ("batch_size is True", lambda: cell().zero_state(True, "float32")),
    ("batch_size is 2.0", lambda: cell().zero_state(2.0, "float32")),
    ("BasicLSTMCell 'basic_lstm_cell': activation", lambda: tf1.BasicLSTMCell(4, activation=np.zeros(3))),
    ("BasicLSTMCell 'basic_lstm_cell': activation", lambda: tf1.BasicLSTMCell(4, activation="tahn")),
    ("BasicLSTMCell 'x': activation", lambda: tf1.BasicLSTMCell(4, activation=lambda v: v, name="x")),
    ("initializer: its call .* failed", lambda: tf1.LSTMCell(4, initializer=lambda s, d: s).build((None, 3))),
    ("forget_bias is 1e.300", lambda: tf1.dynamic_rnn(tf1.BasicLSTMCell(4, forget_bias=1e300), X)),
    ("forget_bias is 1e.300", lambda: tf1.dynamic_rnn(tf1.LayerNormBasicLSTMCell(4, forget_bias=1e300), X)),
    ("inputs is not an array", lambda: tf1.LSTMBlockFusedCell(5)([np.zeros((2, 5)), np.zeros((1, 5))])),
    ("CudnnCompatibleLSTMCell: unrecog.*'name'", lambda: tf1.CudnnCompatibleLSTMCell(4, name="x")),
    ("CudnnCompatibleLSTMCell: unrecog.*'forget", lambda: tf1.CudnnCompatibleLSTMCell(4, forget_bias=0.0)),
    ("CudnnLSTM: unrecognized.*'forget_bias'", lambda: tf1.CudnnLSTM(1, 4, forget_bias=1.0)),
    ("CudnnLSTM: unrecognized.*'cell_clip'", lambda: tf1.CudnnLSTM(1, 4, cell_clip=0.1)),
    ("CudnnLSTM: name is 3", lambda: tf1.CudnnLSTM(1, 4, name=3)),
    ("CudnnLSTM: weights is None", lambda: tf1.CudnnLSTM(1, 4).set_canonical(None, None)),
    ("CudnnLSTM: biases is 3", lambda: tf1.CudnnLSTM(1, 4).set_canonical([], 3)),
    ("CudnnLSTM has no weights yet", lambda: tf1.CudnnLSTM(1, 4).canonical()),
    ("CudnnLSTM: initial_state is not an array", lambda: tf1.CudnnLSTM(1, 4)(X, (RAGGED, 1))),
    ("load_checkpoint: the mapping has the key 1", lambda: cell().load_checkpoint({1: X})),
    ("kernel that are no arrays", lambda: cell().load_checkpoint({"a/kernel": RAGGED, "a/bias": np.zeros(16)})),
]  # fmt: skip


@pytest.mark.parametrize(("message", "call"), CALLS, ids=[str(number) for number in range(len(CALLS))])
def test_it_is_refused_by_name(message, call):
    with pytest.raises(FastLSTMError, match=message):
        call()


def test_tensors_of_a_graph_are_refused_by_name(keras):
    tf, classes, _ = tensorflow()
    with tf.Graph().as_default(), quiet():
        x, lengths, state = (
            tf.compat.v1.placeholder(*a) for a in (("float32", [2, 3, 5]), ("int32", [2]), ("float32", [2, 4]))
        )
        calls = {
            "dynamic_rnn: inputs": lambda: tf1.dynamic_rnn(cell(), x),
            "static_rnn: inputs": lambda: tf1.static_rnn(cell(), tf.unstack(x, axis=1)),
            "sequence_length": lambda: tf1.dynamic_rnn(cell(), X, lengths),
            "state c": lambda: tf1.dynamic_rnn(cell(), X, None, (state, state)),
            "state is": lambda: tf1.dynamic_rnn(cell(**one), X, None, state),
            "kernel is no array": lambda: cell().set_weights([x, x]),
            "batch_size is": lambda: cell().zero_state(lengths[0], tf.float32),
            "input_keep_prob is": lambda: tf1.DropoutWrapper(cell(), lengths[0]),
            "cell is": lambda: tf1.dynamic_rnn(classes.BasicLSTMCell(4), X),
        }
        for message, call in calls.items():
            with pytest.raises(FastLSTMError, match=message):
                call()


def wrong_calls(made):
    """Calls that fail for what is checked after the arguments of the cell itself."""
    zeros = made.zero_state(3, "float64")
    other = tf1.BasicLSTMCell(4)
    other.build((None, 7))
    pair = tf1.MultiRNNCell([made, other])
    return [
        lambda: tf1.dynamic_rnn(made, X[0], dtype="float64"),
        lambda: tf1.dynamic_rnn(made, X, [9, 9], dtype="float64"),
        lambda: tf1.dynamic_rnn(made, X, None, zeros),
        lambda: made(X[:, 0], zeros),
        lambda: made(X[:, 0], None),
        lambda: tf1.bidirectional_dynamic_rnn(made, made, X, None, None, zeros, dtype="float64"),
        lambda: tf1.bidirectional_dynamic_rnn(made, other, X, dtype="float64"),
        lambda: tf1.dynamic_rnn(pair, X, dtype="float64"),
    ]


def test_a_call_that_fails_leaves_a_cell_as_it_was():
    for number in range(8):
        made = tf1.BasicLSTMCell(4)
        with pytest.raises(FastLSTMError):
            wrong_calls(made)[number]()
        assert not made.built and made.dtype is None
        assert tf1.dynamic_rnn(made, X[:, :, 1:], dtype="float32")[0].dtype == np.float32
    fused = tf1.LSTMBlockFusedCell(4)
    for wrong in ((X[0],), (X, (X, X)), (X, None, None, [9] * 3)):
        with pytest.raises(FastLSTMError):
            fused(*wrong)
    assert not fused.built and fused.dtype is None
