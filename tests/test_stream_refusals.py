"""What cannot be computed one step at a time is refused, by the layer's class and name, and for its reason."""

import numpy as np
import pytest

import fastlstm
from fastlstm import LSTM, FastLSTMError, Input, Model, Sequential, UnsupportedLayerError
from fastlstm.layers import Activation, Bidirectional, Dense
from fastlstm.layers.activation import PReLU, Softmax
from fastlstm.layers.convolutional import Conv1D
from fastlstm.layers.gru import GRU
from fastlstm.layers.masking import Masking
from fastlstm.layers.merging import Add, Concatenate, Dot
from fastlstm.layers.normalization import BatchNormalization
from fastlstm.layers.ops import Operation
from fastlstm.layers.pooling import GlobalAveragePooling1D, MaxPooling1D
from fastlstm.layers.reshaping import Flatten, Permute, RepeatVector, Reshape


def refused(draw, shape=(None, 4)):
    x = Input(shape)
    model = Model(x, draw(x))
    model.fill()
    return model


REFUSED = (
    (lambda x: Bidirectional(LSTM(2), name="a")(x), "Bidirectional 'a' cannot stream: it reads the end"),
    (lambda x: LSTM(2, go_backwards=True, name="a")(x), "LSTM 'a' .*go_backwards=True"),
    (lambda x: GRU(2, return_state=True, name="a")(x)[0], "GRU 'a' .*return_state=True"),
    (lambda x: LSTM(4, name="a")(x, initial_state=[LSTM(4)(x), LSTM(4)(x)]), "LSTM 'a' "),
    (lambda x: Conv1D(2, 3, name="a")(x), "Conv1D 'a' .*padding='valid'"),
    (lambda x: Conv1D(2, 3, padding="same", name="a")(x), "Conv1D 'a' .*padding='same'"),
    (lambda x: Conv1D(2, 3, strides=2, padding="causal", name="a")(x), "Conv1D 'a' .*strides=2"),
    (lambda x: Conv1D(2, 1, strides=2, name="a")(x), "Conv1D 'a' .*strides=2"),
    (lambda x: MaxPooling1D(2, name="a")(x), "MaxPooling1D 'a' .*more than one step"),
    (lambda x: GlobalAveragePooling1D(name="a")(x), "GlobalAveragePooling1D 'a'"),
    (lambda x: Dot(2, name="a")([x, x]), "Dot 'a'"),
    (lambda x: Concatenate(axis=1, name="a")([x, x]), "Concatenate 'a' .*along the axis of steps"),
    (lambda x: Softmax(axis=1, name="a")(x), "Softmax 'a' .*along the axis of steps"),
    (lambda x: Softmax(name="a")(Masking()(x)), "Softmax 'a' .*gets a mask"),
    (lambda x: x[:, -2], "GetItem .*other steps"),
    (lambda x: x[:, 1:], "GetItem .*other steps"),
    (lambda x: x[0], "GetItem .*other steps"),
    (lambda x: Add(name="a")([x, LSTM(4)(x)]), "Add 'a' .*joins a sequence"),
    (lambda x: Add(name="a")([x, x[:, :, 0]]), "Add 'a' .*joins sequences of shapes"),
    (lambda x: Operation("Cumsum", axis=1)(x), "Cumsum .*more than one step"),
    (lambda x: Operation("Mean")(x), "Mean .*along the axis of steps"),
    (lambda x: Operation("ExpandDims", axis=1)(x), "ExpandDims .*along the axis of steps"),
    (lambda x: x + np.ones((5, 4), np.float32), "Add .*gets an array for some number of steps"),
    (lambda x: LSTM(2, name="a")(x, mask=np.ones((1, 5), bool)), "LSTM 'a' .*gets an array for some number of steps"),
    (lambda x: Conv1D(2, 2, padding="causal", dilation_rate=2**30, name="a")(x), "Conv1D 'a' .*would keep"),
    (lambda x: Add(name="a")([x, x[:, -1:]]), "Add 'a' .*joins a sequence"),
    (lambda x: Activation("softmax", name="a")(x[:, :, 0]), "Activation 'a' .*along the axis of steps"),
    (lambda x: LSTM(3, stateful=True, name="a")(RepeatVector(2)(LSTM(3)(x))), "LSTM 'a' .*stateful"),
    (lambda x: Sequential([Input((None, 4)), Permute((2, 1), name="a")])(x), "Permute 'a'"),
)


@pytest.mark.parametrize("draw, message", REFUSED, ids=[message for _, message in REFUSED])
def test_what_needs_other_steps_is_refused_by_name(draw, message):
    with pytest.raises(UnsupportedLayerError, match=message):
        refused(draw, (8, 4) if "Permute" in message else (5, 4) if "array" in message else (None, 4)).stream()


@pytest.mark.parametrize(
    "layer", [Flatten(name="a"), Reshape((8, 4), name="a"), PReLU(name="a"), BatchNormalization(1, name="a")]
)
def test_what_is_built_for_a_number_of_steps_is_refused(layer):
    with pytest.raises(UnsupportedLayerError, match=f"{type(layer).__name__} 'a' cannot stream"):
        refused(layer, (8, 4)).stream()


def test_a_layer_of_the_callers_own_is_refused():
    class Shift(fastlstm.layers.Layer):
        def call(self, inputs, *, mask=None):
            return np.roll(inputs, 1, axis=1)

    with pytest.raises(UnsupportedLayerError, match="Shift 'a' cannot stream: it is not one of fastlstm's own"):
        refused(Shift(name="a")).stream()


def test_a_model_without_sequences_is_refused():
    with pytest.raises(FastLSTMError, match="no input with steps"):
        refused(Dense(2), (4,)).stream()


def test_one_step_beside_sequences_is_not_broadcast():
    one, many = Input((1, 3)), Input((None, 3))
    with pytest.raises(UnsupportedLayerError, match=r"Add 'a' .*joins sequences of shapes"):
        Model([one, many], Add(name="a")([one, many])).stream()
