"""Live layers and models are taken over with their weights, and describe themselves as Keras's do."""

from __future__ import annotations

import numpy as np
import pytest

import fastlstm
from fastlstm import FastLSTMError, UnsupportedLayerError, from_keras

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
BOUND = 1e-5  # promised for float32 against Keras, whatever the model


def rng():
    return np.random.default_rng(12)


LAYERS = {
    "lstm": (lambda L: L.LSTM(5, return_sequences=True, activation="relu"), (2, 6, 3)),
    "gru": (lambda L: L.GRU(5, reset_after=False), (2, 6, 3)),
    "simple-rnn": (lambda L: L.SimpleRNN(5, return_state=True), (2, 6, 3)),
    "stacked": (lambda L: L.RNN([L.LSTMCell(4), L.GRUCell(3)], return_sequences=True), (2, 6, 3)),
    "bidirectional": (lambda L: L.Bidirectional(L.GRU(4), merge_mode="sum"), (2, 6, 3)),
    "time-distributed": (lambda L: L.TimeDistributed(L.Conv1D(3, 2)), (2, 6, 4, 3)),
    "normalization": (lambda L: L.BatchNormalization(), (2, 6, 3)),
    "conv": (lambda L: L.Conv1D(4, 3, padding="causal", dilation_rate=2), (2, 6, 3)),
    "dense": (lambda L: L.Dense(4, activation=L.LeakyReLU(0.1)), (2, 3)),
    "attention": (lambda L: L.MultiHeadAttention(2, 3), (2, 6, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_live_layer_of_keras_3(keras, name):
    make, shape = LAYERS[name]
    keras.utils.set_random_seed(3)
    theirs, x = make(keras.layers), rng().standard_normal(shape).astype("float32")
    arguments = (x, x) if name == "attention" else (x,)
    wanted = theirs(*arguments)
    ours = from_keras(theirs)
    assert ours.name == theirs.name
    found = ours(*arguments)
    several = isinstance(wanted, list | tuple)
    for a, b in zip(found if several else [found], wanted if several else [wanted], strict=True):
        np.testing.assert_allclose(a, np.asarray(b), rtol=0, atol=BOUND)


@pytest.mark.parametrize("name", [n for n in LAYERS if n not in ("attention",)])
def test_a_live_layer_of_keras_2(name):
    tf_keras = pytest.importorskip("tf_keras")
    make, shape = LAYERS[name]
    theirs, x = make(tf_keras.layers), rng().standard_normal(shape).astype("float32")
    wanted, found = theirs(x), from_keras(theirs)(x)
    several = isinstance(wanted, list | tuple)
    for a, b in zip(found if several else [found], wanted if several else [wanted], strict=True):
        np.testing.assert_allclose(a, np.asarray(b), rtol=0, atol=BOUND)


def graph(k):
    inner = k.Sequential([k.Input((5, 3)), k.layers.LSTM(4, trainable=False), k.layers.Dense(3)], name="inner")
    x = k.Input((5, 3))
    return k.Model(x, k.layers.Add()([inner(x), k.layers.GRU(3)(x)]))


def test_a_live_model(keras):
    theirs, x = graph(keras), rng().standard_normal((4, 5, 3)).astype("float32")
    np.testing.assert_allclose(from_keras(theirs).predict(x, verbose=0), theirs(x), rtol=0, atol=BOUND)


@pytest.mark.parametrize("options", [{}, {"expand_nested": True}, {"show_trainable": True}, {"line_length": 90}])
def test_a_summary_is_keras_s_to_the_letter(keras, monkeypatch, options):
    monkeypatch.setenv("COLUMNS", "140")
    theirs = graph(keras)
    for model in (theirs, theirs.get_layer("inner")):
        texts: list[list[str]] = [[], []]
        model.summary(print_fn=texts[0].append, **options)
        from_keras(model).summary(print_fn=texts[1].append, **options)
        assert texts[0] == texts[1]


def test_what_cannot_be_taken_is_refused(keras):
    class Own(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(UnsupportedLayerError, match="Own"):
        from_keras(Own())
    with pytest.raises(FastLSTMError, match="not built"):
        from_keras(keras.Sequential([keras.layers.Dense(2)]))
    for other in (3, fastlstm.LSTM(2), np.zeros(3), keras):
        with pytest.raises(FastLSTMError, match="expected a layer or model"):
            from_keras(other)
    lambdas = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x * 2, name="twice")])
    with pytest.raises(UnsupportedLayerError, match="'twice' is a Lambda"):
        from_keras(lambdas)
    taken = from_keras(lambdas, custom_layers={"twice": lambda x: x * 2})
    assert np.array_equal(taken(np.ones((1, 3))), np.full((1, 3), 2, "float32"))


def test_weights_for_a_model_in_code_need_not_have_its_names(keras, tmp_path):
    theirs, x = graph(keras), rng().standard_normal((4, 5, 3)).astype("float32")
    theirs.save(tmp_path / "m.keras")
    theirs.save_weights(tmp_path / "m.weights.h5")
    theirs.save(tmp_path / "m.h5")
    for name in ("m.keras", "m.weights.h5", "m.h5"):
        ours = graph(fastlstm)
        ours.load_weights(tmp_path / name)
        np.testing.assert_allclose(ours(x), theirs(x), rtol=0, atol=BOUND)
