"""Sequential runs, predicts, describes and copies a stack of layers as Keras's does."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import reference

from fastlstm import FastLSTMError, Sequential
from fastlstm.layers import LSTM, Dense, Dropout, Embedding, InputLayer

EPS = np.finfo(np.float32).eps


def rng():
    return np.random.default_rng(7)


def close(found, expected, terms):
    """Equal within the rounding of a float32 sum of so many terms of about one."""
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=4 * terms * EPS)


def stack(**lstm):
    """Embedding with a mask, LSTM, Dropout, Dense, with random weights."""
    model = Sequential(
        [
            InputLayer((6,), dtype="int32"),
            Embedding(11, 4, mask_zero=True),
            LSTM(5, **lstm),
            Dropout(0.4),
            Dense(3, activation="softmax"),
        ]
    )
    model.set_weights([rng().uniform(-1, 1, w.shape) for w in model.get_weights()])
    return model


def built_dense(width):
    layer = Dense(2)
    layer.build((None, width))
    return layer


def test_a_stack_equals_its_layers_one_after_the_other():
    model = stack()
    ids = np.array([[3, 1, 4, 1, 0, 0], [0, 0, 9, 2, 6, 0], [5, 3, 5, 8, 9, 7]])
    table, kernel, recurrent, bias, w, b = model.get_weights()
    _, h, _, _ = reference.lstm(table[ids], kernel, recurrent, bias, mask=ids != 0)
    z = np.exp(h @ w.astype(float) + b)
    close(model(ids), z / z.sum(-1, keepdims=True), terms=16)


def test_masks_travel_through_layers_to_the_next_lstm():
    model = Sequential([InputLayer((4, 2)), LSTM(3, return_sequences=True), Dropout(0.5), LSTM(2)])
    x = rng().normal(size=(2, 4, 2)).astype("float32")
    mask = np.array([[True, True, False, True], [False, True, True, False]])
    w = model.get_weights()
    sequence, *_ = reference.lstm(x, *w[:3], mask=mask)
    _, h, _, _ = reference.lstm(sequence, *w[3:], mask=mask)
    close(model(x, mask=mask), h, terms=16)
    assert not np.array_equal(model(x), model(x, mask=mask))


@pytest.mark.parametrize("rows", [0, 1, 5, 32, 33, 100])
@pytest.mark.parametrize("batch_size", [None, 1, 7, 1000])
def test_predict_equals_one_call_however_it_is_cut(rows, batch_size):
    model = stack()
    ids = rng().integers(0, 11, (rows, 6))
    found = model.predict(ids, batch_size=batch_size)
    assert found.dtype == np.float32
    assert found.shape == (rows, 3)
    if rows:
        close(found, model(ids), terms=16)
        assert np.array_equal(model.predict_on_batch(ids), model(ids))


def test_several_outputs_come_as_a_list():
    model = Sequential([InputLayer((4, 2)), LSTM(3, return_state=True)])
    for rows in (0, 2, 40):
        outputs = model.predict(np.ones((rows, 4, 2)))
        assert isinstance(outputs, list)
        assert [o.shape for o in outputs] == [(rows, 3)] * 3
    assert model.output_shape == [(None, 3)] * 3
    with pytest.raises(FastLSTMError, match="only the last layer may have several outputs"):
        model.add(Dense(2))


def test_an_unbuilt_model_takes_the_shape_of_its_first_input():
    model = Sequential([LSTM(3), Dense(2)], name="late")
    for shape in ("input_shape", "output_shape"):
        with pytest.raises(AttributeError, match="late"):
            getattr(model, shape)
    with pytest.raises(FastLSTMError, match="no weights yet"):
        model.set_weights([])
    assert repr(model) == "<Sequential name=late, built=False>"
    with pytest.raises(FastLSTMError, match="not built"):
        model.count_params()
    assert model.predict(np.zeros((40, 5, 4))).shape == (40, 2)
    assert (model.input_shape, model.output_shape) == ((32, 5, 4), (32, 2))
    assert model.count_params() == 4 * 3 * (4 + 3 + 1) + 3 * 2 + 2


def test_build_creates_weights_and_add_extends_a_model():
    model = Sequential()
    with pytest.raises(FastLSTMError, match="no layers"):
        model.build((None, 3))
    model.add(InputLayer((5, 2)))
    assert not model.built
    model.add(LSTM(3))
    kept = model.get_weights()
    model.add(Dense(2))
    assert model.built
    assert all(np.array_equal(a, b) for a, b in zip(kept, model.get_weights()[:3], strict=True))
    assert [layer.name for layer in model.layers] == [layer.name for layer in model._layers[1:]]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Sequential([Dense(2, name="a"), Dense(2, name="a")]), "layer named 'a' already"),
        (lambda: Sequential([Dense(2), InputLayer((3,))]), "can only come first"),
        (lambda: Sequential([3]), "expected a fastlstm layer"),
        (lambda: Sequential([Dense(2)]).build(), "needs an input_shape"),
        (lambda: Sequential([InputLayer((3,)), Dense(2)]).build((None, 4)), r"\(None, 3\)"),
        (
            lambda: Sequential([InputLayer((4,)), Sequential([InputLayer((3,)), d := Dense(2)]) and d]),
            "other inputs",
        ),
    ],
)
def test_a_stack_that_cannot_be_built_says_why(build, message):
    with pytest.raises(FastLSTMError, match=message):
        build()


@pytest.mark.parametrize(
    ("shape", "fits"),
    [
        ((2, 5, 3), True),
        ((2, 9, 3), True),  # another length: as in Keras, the weights do not care
        ((2, 5, 3, 1), True),  # a last axis of one is dropped
        ((2, 5, 4), False),
        ((2, 5, 0), False),
        ((5, 3), False),
        ((2, 5), False),
        ((2, 5, 3, 2), False),
    ],
)
def test_an_input_that_does_not_fit_is_named_with_the_shape_expected(shape, fits):
    model = Sequential([InputLayer((5, 3)), LSTM(2), Dense(1)], name="net")
    for call in (model, model.predict, model.predict_on_batch):
        if fits:
            assert call(np.zeros(shape)).shape == (2, 1)
        else:
            with pytest.raises(FastLSTMError, match=r"Sequential 'net': input has shape .*\(None, 5, 3\)"):
                call(np.zeros(shape))


def test_a_missing_last_axis_of_one_is_added():
    model = Sequential([InputLayer((5, 1)), LSTM(2)])
    x = rng().normal(size=(3, 5))
    assert np.array_equal(model(x), model(x[..., None]))


@pytest.mark.parametrize("x", [[[1, 2], [3]], "text", None, np.array(["a"]), np.float32(1), [[1j, 2]]])
def test_an_input_that_is_no_array_of_numbers_is_refused(x):
    model = Sequential([InputLayer((2,)), Dense(1)])
    with pytest.raises(FastLSTMError, match=r"input is|got arrays of different lengths"):
        model.predict(x)


def test_lists_and_other_layouts_are_taken_and_never_written():
    model = Sequential([InputLayer((4, 3)), LSTM(2)])
    x = rng().normal(size=(2, 4, 3))
    expected = model(x)
    for same in (x.tolist(), [x], np.asfortranarray(x), x[:, ::-1][:, ::-1], x.astype(">f8")):
        kept = np.array(same, copy=True)
        assert np.array_equal(model.predict(same), expected)
        assert np.array_equal(kept, same)


@pytest.mark.parametrize(
    "arguments",
    [
        {"batch_size": 0},
        {"batch_size": -3},
        {"batch_size": 2.5},
        {"batch_size": "4"},
        {"steps": 0},
        {"callbacks": 3},
        {"verbose": 3},
    ],
)
def test_predict_refuses_arguments_it_cannot_honour(arguments):
    model = Sequential([InputLayer((2,)), Dense(1)])
    with pytest.raises(FastLSTMError, match=next(iter(arguments))):
        model.predict(np.zeros((2, 2)), **arguments)


def test_training_is_refused():
    model = Sequential([InputLayer((2,)), Dense(1)])
    with pytest.raises(FastLSTMError, match="training must be False"):
        model(np.zeros((2, 2)), training=True)


def test_weights_are_set_all_or_none():
    model = stack()
    before = model.get_weights()
    wrong = [w + 1 for w in before]
    wrong[-1] = np.zeros(4)
    for weights in (wrong, before[:-1], [*before, before[0]], [*before[:-1], np.array(["a"] * 3)]):
        with pytest.raises(FastLSTMError, match="set_weights"):
            model.set_weights(weights)
        assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    model.set_weights([w + 1 for w in before])
    assert all(np.array_equal(a + 1, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_a_model_comes_back_from_its_configuration():
    model = stack(return_sequences=True)
    other = Sequential.from_config(model.get_config())
    assert other.get_config() == model.get_config()
    other.set_weights(model.get_weights())
    ids = rng().integers(0, 11, (3, 6))
    assert np.array_equal(other(ids), model(ids))
    late = Sequential.from_config(Sequential([Dense(2)]).get_config())
    assert not late.built
    config = model.get_config()
    without_input = {**config, "layers": config["layers"][1:]}
    assert Sequential.from_config(without_input).input_shape == model.input_shape


@pytest.mark.parametrize(
    "change",
    [
        {"class_name": "Lambda"},
        {"module": "os"},
        {"registered_name": "mine>Dense"},
        {"config": None},
        {"config": {}},
        {"config": {"units": 2, "surprise": 1}},
    ],
)
def test_a_layer_of_another_kind_is_never_made(change):
    config = Sequential([InputLayer((3,)), Dense(2)]).get_config()
    config["layers"][1] = {**config["layers"][1], **change}
    with pytest.raises(FastLSTMError):
        Sequential.from_config(config)


def test_a_stateful_stack_goes_on_until_it_is_reset():
    model = Sequential([InputLayer(batch_shape=(2, 3, 1)), LSTM(4, stateful=True), Dense(1)])
    x = rng().normal(size=(2, 3, 1)).astype("float32")
    first, second = model(x), model(x)
    assert not np.array_equal(first, second)
    model.reset_states()
    assert np.array_equal(model(x), first)


def test_one_model_serves_many_threads():
    model = Sequential([LSTM(8), Dense(3)])  # unbuilt: the threads also race to build it
    inputs = rng().normal(size=(8, 4, 6, 5)).astype("float32")
    found: list = [None] * 8

    def work(i):
        for _ in range(50):
            found[i] = model.predict(inputs[i], batch_size=3)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(8):
        assert np.array_equal(found[i], model.predict(inputs[i], batch_size=3))


def test_a_first_layer_may_tell_the_input_shape():
    for told in ({"input_shape": (10, 3)}, {"input_shape": [None, 3]}):
        model = Sequential([LSTM(4, **told), Dense(1)])
        assert model.built and model.input_shape == (None, *told["input_shape"])
    model = Sequential([Dense(2, input_dim=5)])
    assert model.input_shape == (None, 5)


def test_a_row_of_predict_does_not_depend_on_its_batch():
    rng = np.random.default_rng(3)
    model = Sequential([InputLayer(shape=(9, 3)), LSTM(20, return_sequences=True), LSTM(7), Dense(3, "softmax")])
    x = rng.standard_normal((70, 9, 3)).astype(np.float32)
    whole = model.predict(x, batch_size=70, verbose=0)
    for size in (1, 5, 32):
        assert np.array_equal(model.predict(x, batch_size=size, verbose=0), whole)
