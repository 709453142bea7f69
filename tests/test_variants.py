"""An LSTM's options beyond Keras's compute what their equations say, on every instruction set."""

import copy

import numpy as np
import pytest
from lstm_variants import CURVES, PLAIN, drawn_options, oracle, variant_of, weights_for
from recurrent import layer_of
from reference import rounding_bound

import fastlstm
from fastlstm import FastLSTMError, Input, Sequential, UnsupportedLayerError
from fastlstm.activations import Curve
from fastlstm.layers import GRU, LSTM, Bidirectional, Dense, LSTMCell, TimeDistributed
from fastlstm.layers.variants import Gates


def check(layer, x, states=None, mask=None, **call):
    """Everything that the layer returns within a rounding's reach of the oracle."""
    wider = np.float64 if layer.dtype == "float32" else np.longdouble
    exact, plain = (oracle(layer, x, states, mask, dtype) for dtype in (wider, layer.dtype))
    call = call or {"mask": mask}
    output, *found = layer(x, initial_state=states, **call)
    layer.return_gates = False  # a kernel may then end the steps
    again = layer(x, initial_state=states, **call)
    layer.return_gates = True
    states_of = ([r[0 if layer.return_sequences else 1], *r[2:4]] for r in (exact, plain))
    wanted, beside = ([*s, *r[4], *s] for s, r in zip(states_of, (exact, plain), strict=True))
    names = ["output", "h", "c", *Gates._fields, "output alone", "h alone", "c alone"]
    for name, y, e, p in zip(names, [output, *found[:2], *found[2], *again], wanted, beside, strict=True):
        assert y.shape == e.shape and y.dtype == layer.dtype, name
        worst = np.abs(y - e)
        reach = 2 if layer.variant.layer_norm else 1  # a norm divides by what may be small, at every step
        assert (worst <= reach * rounding_bound(e, p, x.shape[1])).all(), (name, float(worst.max()), layer.get_config())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_drawn_variants_equal_the_oracle(isa, dtype, rng):
    for _ in range(60 if isa.startswith("scalar") else 200):
        sizes = [0, 1, 2, 5, 7, 13, 48], [0, 1, 2, 9, 40], [1, 3, 17, 40]
        batch, steps, features = (int(rng.choice(s)) for s in sizes)
        units = int(rng.integers(1, 131))
        layer = variant_of(
            rng, features, units, dtype=dtype, isa=isa, return_state=True, return_gates=True,
            use_bias=bool(rng.random() < 0.8), return_sequences=bool(rng.random() < 0.7),
            go_backwards=bool(rng.random() < 0.3), zero_output_for_mask=bool(rng.random() < 0.4), **drawn_options(rng),
        )  # fmt: skip
        x = rng.standard_normal((batch, steps, features)).astype(dtype)
        states = None
        if rng.random() < 0.5:
            states = [rng.standard_normal((batch, n)).astype(dtype) for n in (layer.output_size, units)]
        mask = rng.random((batch, steps)) < rng.choice([0.1, 0.5, 0.9]) if rng.random() < 0.4 else None
        check(layer, x, states, mask)


@pytest.mark.parametrize("name", [*PLAIN, *CURVES])
def test_every_function_in_every_place(name, rng):
    activation = Curve(name, 0.6, 0.3) if name in CURVES else name
    for place in ("activation", "recurrent_activation", "output_activation"):
        layer = variant_of(rng, 5, 20, return_state=True, return_gates=True, **{place: activation})
        check(layer, rng.standard_normal((3, 6, 5)).astype(np.float32))


def test_a_curve_at_its_defaults_is_onnx_s_or_keras_s(rng):
    for name, alpha, beta in [("leaky_relu", 0.01, 0), ("hard_sigmoid", 0.2, 0.5), ("elu", 1, 0), ("affine", 1, 0)]:
        assert Curve(name).name["config"] == {"name": name, "alpha": alpha, "beta": beta}
    assert Curve("elu", 0.5) == Curve("elu", 0.5, 0) != Curve("elu") and "elu" in repr(Curve("elu"))


@pytest.mark.parametrize("width", [1, 7, 16, 20, 33, 100])
def test_projections_narrower_and_wider_than_the_cell(isa, width, rng):
    options = {"return_state": True, "return_gates": True, "return_sequences": True}
    layer = variant_of(rng, 9, 20, isa=isa, projection=width, **options)
    for batch in (1, 3, 6, 19):
        check(layer, rng.standard_normal((batch, 30, 9)).astype(np.float32), None, rng.random((batch, 30)) < 0.7)


def test_blocks_of_rows_and_long_sequences(rng):
    for options in ({"projection": 40}, {"peepholes": True}, {"coupled_gates": "input"}):
        layer = variant_of(rng, 60, 130, return_state=True, return_gates=True, return_sequences=True, **options)
        check(layer, rng.standard_normal((501, 2, 60)).astype(np.float32), None, rng.random((501, 2)) < 0.5)
        check(layer, rng.standard_normal((1, 300, 60)).astype(np.float32))


def test_the_gates_of_a_plain_lstm(isa, rng):
    for features, units, steps in ((3, 5, 40), (40, 64, 60)):
        options = {"return_state": True, "return_gates": True, "return_sequences": True}
        layer = layer_of(rng, "lstm", features, units, isa=isa, **options)
        x = rng.standard_normal((4, steps, features)).astype(np.float32)
        check(layer, x, None, rng.random((4, steps)) < 0.8)
        output, h, c, gates = layer(x)
        assert isinstance(gates, Gates) and np.array_equal(gates.c[:, -1], c) and np.array_equal(output[:, -1], h)


def test_gates_on_several_threads_and_in_two_directions(rng):
    options = {"return_sequences": True, "return_gates": True, "threads": 2}
    layer = variant_of(rng, 200, 300, **options)
    x = rng.standard_normal((2, 50, 200)).astype(np.float32)
    one = copy.deepcopy(layer)
    one.threads = 1
    for a, b in zip(layer(x)[1], one(x)[1], strict=True):
        assert np.array_equal(a, b)


# ---- how it is called ---------------------------------------------------------------------------


def test_lengths_are_the_mask_of_rows_that_end(rng):
    lengths = np.array([0, 3, 7, 5])
    mask = np.arange(7) < lengths[:, None]
    for options in ({}, {"go_backwards": True}, {"zero_output_for_mask": True}, {"projection": 3}):
        layer = variant_of(rng, 4, 6, return_sequences=True, return_state=True, **options)
        x = rng.standard_normal((4, 7, 4)).astype(np.float32)
        for found, wanted in zip(layer(x, lengths=lengths), layer(x, mask=mask), strict=True):
            assert np.array_equal(found, wanted)
        other = rng.random((4, 7)) < 0.5
        for found, wanted in zip(layer(x, lengths=lengths, mask=other), layer(x, mask=mask & other), strict=True):
            assert np.array_equal(found, wanted)
    for kind in ("gru", "simple"):
        layer = layer_of(rng, kind, 4, 6, return_sequences=True)
        assert np.array_equal(layer(x, lengths=lengths), layer(x, mask=mask))
    both = Bidirectional(LSTM(5, return_sequences=True))
    assert np.array_equal(both(x, lengths=lengths), both(x, mask=mask))
    unbuilt = LSTM(5)
    assert np.array_equal(unbuilt(x, lengths=lengths), unbuilt(x, mask=mask))


def test_lengths_in_a_model_s_graph_are_kept_and_are_not_keras_s(tmp_path, rng):
    inputs = Input((7, 4))
    model = fastlstm.Model(inputs, LSTM(6)(inputs, lengths=[3, 7]))
    x = rng.standard_normal((2, 7, 4)).astype(np.float32)
    assert np.array_equal(model(x), model.layers[1](x, lengths=[3, 7]))
    model.save(tmp_path / "m.npz")
    assert np.array_equal(fastlstm.load_model(tmp_path / "m.npz")(x), model(x))
    with pytest.raises(UnsupportedLayerError, match="lengths"):
        model.save(tmp_path / "m.keras")
    with pytest.raises(FastLSTMError, match="sequences"):
        model.layers[1]([[[1], [2, 3]]], lengths=[2])
    for wrapped in (model.layers[1], Bidirectional(LSTM(6))):
        with pytest.raises(FastLSTMError, match="mask"):
            wrapped(x, mask=[[1], [1, 2]])
    with pytest.raises(FastLSTMError, match="initial_state"):
        wrapped(x, initial_state=3)


@pytest.mark.parametrize("lengths", [[1, 2], [[1, 2, 3]], [1, 2, 8], [-1, 2, 3], [1.0, 2.0, 3.0], "abc", [1, 2, None]])
def test_wrong_lengths_are_named(lengths, rng):
    layer = variant_of(rng, 4, 6)
    with pytest.raises(FastLSTMError, match="lengths"):
        layer(np.zeros((3, 7, 4)), lengths=lengths)


def test_time_major_is_the_same_turned(rng):
    lengths, x = np.array([2, 9, 5]), rng.standard_normal((3, 9, 4)).astype(np.float32)
    for options in ({}, {"projection": 3, "peepholes": True}, {"return_gates": True}, {"return_sequences": False}):
        options = {"return_sequences": True, "return_state": True, **options}
        layer = variant_of(rng, 4, 6, **options)
        turned = LSTM(6, time_major=True, **options)
        turned.set_weights(layer.get_weights())
        mask = np.arange(9) < lengths[:, None]
        for call in ({}, {"lengths": lengths}, {"mask": mask}):
            given = {k: v.T if k == "mask" else v for k, v in call.items()}
            found, wanted = turned(x.swapaxes(0, 1), **given), layer(x, **call)
            pairs = list(zip(found[:3], wanted[:3], strict=True))
            if "return_gates" in options:
                pairs += list(zip(found[3], wanted[3], strict=True))
            for a, b in pairs:
                assert np.array_equal(a.swapaxes(0, 1) if a.ndim == 3 else a, b)


def test_time_major_of_another_memory_order_and_where_the_batch_comes_first(rng):
    layer = variant_of(rng, 4, 6, time_major=True, return_sequences=True)
    x = rng.standard_normal((3, 9, 4))
    assert np.array_equal(layer(x.swapaxes(0, 1)), layer(np.ascontiguousarray(x.swapaxes(0, 1))))
    with pytest.raises(FastLSTMError, match="steps, batch"):
        layer(np.zeros((3, 9, 5)))
    with pytest.raises(FastLSTMError, match="time_major"):
        layer([np.zeros((3, 4)), np.zeros((2, 4))])
    for place in (lambda: Sequential([Input((None, 4)), layer]), lambda: layer(Input((None, 4))), layer.stream,
                  lambda: TimeDistributed(layer)):  # fmt: skip
        with pytest.raises(FastLSTMError, match="time_major"):
            place()


def test_gates_of_rows_of_different_lengths_are_the_rows_own(rng):
    for backwards in (False, True):
        options = {"return_sequences": True, "return_gates": True, "go_backwards": backwards}
        layer = variant_of(rng, 4, 6, peepholes=True, **options)
        rows = [rng.standard_normal((n, 4)).astype(np.float32) for n in (5, 2, 9)]
        outputs, gates = layer(rows)
        for n, row in enumerate(rows):
            output, alone = layer(row[None])
            assert np.array_equal(outputs[n], output[0])
            assert all(np.array_equal(part[n], own[0]) for part, own in zip(gates, alone, strict=True))


# ---- beside the rest of the library ---------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_streams_give_the_bits_of_the_whole(seed):
    rng = np.random.default_rng(seed)
    layer = variant_of(rng, 5, int(rng.integers(1, 70)), return_sequences=True, reproducible=True, **drawn_options(rng))
    x = rng.standard_normal((3, 20, 5)).astype(np.float32)
    whole, stream = layer(x), layer.stream(3)
    assert np.array_equal(stream.run(x[:, :7]), whole[:, :7])
    other = stream.copy()
    for s in (stream, other):
        for t in range(7, 20):
            assert np.array_equal(s.step(x[:, t]), whole[:, t])
    h, c = stream.state
    assert h.shape == (3, layer.output_size) and c.shape == (3, layer.units)
    assert np.array_equal(layer(x[1:2])[0], whole[1])  # whatever the batch


def test_in_models_streams_of_models_and_files(tmp_path, rng):
    model = Sequential([
        Input((None, 5)), LSTM(12, projection=7, peepholes=True, cell_clip=0.5, return_sequences=True),
        LSTM(6, coupled_gates="input", layer_norm="gates_and_state", output_activation="relu", return_sequences=True,
             recurrent_activation=Curve("hard_sigmoid", 0.3, 0.4)),
        Bidirectional(LSTM(4, projection=3, projection_bias=True, projection_clip=0.2, return_sequences=True)),
        Dense(2),
    ])  # fmt: skip
    x = rng.standard_normal((3, 11, 5)).astype(np.float32)
    y = model(x)
    assert y.shape == (3, 11, 2) and model.output_shape == (None, None, 2)
    model.save(tmp_path / "m.npz")
    again = fastlstm.load_model(tmp_path / "m.npz")
    assert np.array_equal(again(x), y) and again.get_config() == model.get_config()
    with pytest.raises(UnsupportedLayerError, match=r"projection.*npz"):
        model.save(tmp_path / "m.keras")
    causal = Sequential([Input((None, 5)), *model.layers[:2], Dense(2)])
    stream, whole = causal.stream(3), causal(x)
    for t in range(11):
        np.testing.assert_allclose(stream.step(x[:, t]), whole[:, t], atol=1e-6)
    twin = copy.deepcopy(model)
    assert np.array_equal(twin(x), y)


@pytest.mark.parametrize("merge", ["concat", "sum", "mul", "ave", None])
def test_two_directions_with_projections(merge, rng):
    layer = Bidirectional(LSTM(5, projection=3, peepholes=True, return_sequences=True, return_state=True), merge)
    x = rng.standard_normal((2, 6, 4)).astype(np.float32)
    layer.build((None, None, 4))
    found = layer(x, mask=rng.random((2, 6)) < 0.6)
    assert [part.shape for part in found[-4:]] == [(2, 3), (2, 5)] * 2


def test_stacks_run_together(rng):
    layers = [LSTM(9, projection=5, return_sequences=True), LSTM(8, peepholes=True, return_sequences=True), LSTM(4)]
    model = Sequential([Input((None, 3)), *layers])
    x = rng.standard_normal((70, 31, 3)).astype(np.float32)
    y = x
    for layer in layers:
        y = layer(y)
    assert np.array_equal(model(x), y)


@pytest.mark.parametrize("precision", ["bfloat16", "float16", "int8"])
def test_narrow_weights(isa, precision, rng):
    for options in ({"projection": 24, "peepholes": True}, {"coupled_gates": "forget"}, {"layer_norm": "gates"}):
        plain = variant_of(rng, 30, 48, isa=isa, return_sequences=True, **options)
        narrow = copy.deepcopy(plain)
        narrow.precision = precision
        x = rng.standard_normal((3, 20, 30)).astype(np.float32)
        difference = np.abs(narrow(x) - plain(x)).max()
        assert 0 < difference < {"bfloat16": 5e-2, "float16": 5e-3, "int8": 0.2}[precision]
        assert narrow._packed().nbytes < plain._packed().nbytes


def test_stateful_layers_keep_both_states(rng):
    layer = variant_of(rng, 4, 6, projection=3, stateful=True, return_sequences=True)
    x = rng.standard_normal((2, 8, 4)).astype(np.float32)
    first = [layer(x[:, :3]), layer(x[:, 3:])]
    layer.reset_state()
    assert np.array_equal(np.concatenate(first, 1), layer(x)) and [s.shape for s in layer.states] == [(2, 3), (2, 6)]


def test_an_lstm_without_options_is_the_one_there_was(rng):
    layer = layer_of(rng, "lstm", 5, 20, return_sequences=True)
    assert layer._plan_variant({}) is None and not layer.variant.config() and "peepholes" not in layer.get_config()
    x = rng.standard_normal((3, 9, 5)).astype(np.float32)
    told = LSTM(20, return_sequences=True, time_major=False, norm_epsilon=1e-3)
    told.set_weights(layer.get_weights())
    assert np.array_equal(told(x), layer(x)) and told._packed().nbytes == layer._packed().nbytes


# ---- wrong input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"peepholes": 2}, {"projection": 0}, {"projection": 2.5}, {"projection": True}, {"projection_bias": True},
        {"projection_clip": 1.0}, {"coupled_gates": "output"}, {"coupled_gates": 1}, {"layer_norm": True},
        {"norm_epsilon": 0}, {"norm_epsilon": None}, {"input_clip": -1}, {"cell_clip": float("nan")},
        {"cell_clip": float("inf")}, {"input_clip": "1"}, {"output_activation": "none such"}, {"time_major": "yes"},
        {"return_gates": None}, {"output_activation": {"class_name": "Curve", "config": {}}},
        {"output_activation": {"class_name": "Curve", "config": {"name": "elu", "gamma": 1}}},
        {"activation": {"class_name": "Curve", "config": {"name": "exec"}}}, {"projection": 10**30},
        {"cell_clip": 10**400}, {"coupled_gates": np.array(["input", "forget"])}, {"layer_norm": ["gates"]},
        {"recurrent_activation": {"class_name": "Curve", "config": {"name": "elu", "alpha": 10**40}}},
    ],
    ids=str,
)  # fmt: skip
def test_wrong_options_are_named(options):
    with pytest.raises(FastLSTMError, match=next(iter(options)) + "|Curve|shape"):
        LSTM(4, **options).build((None, None, 3))


@pytest.mark.parametrize(
    "given",
    [("gelu",), ("elu", "x"), ("elu", np.nan), ("elu", 1e39), ("elu", 10**400), ("elu", 1j), ("celu", 0), (3,)],
    ids=str,
)
def test_wrong_curves_are_named(given):
    with pytest.raises(FastLSTMError, match="Curve"):
        Curve(*given)


def test_options_may_be_numpy_s_numbers(tmp_path, rng):
    given = {"projection": np.int64(3), "cell_clip": np.float32(0.5), "peepholes": np.True_, "norm_epsilon": np.int8(1),
             "layer_norm": np.str_("gates")}  # fmt: skip
    model = Sequential([Input((None, 4)), LSTM(5, **given, return_sequences=True), LSTM(2, peepholes=np.False_)])
    model.save(tmp_path / "m.npz")
    x = rng.standard_normal((2, 6, 4)).astype(np.float32)
    assert np.array_equal(fastlstm.load_model(tmp_path / "m.npz")(x), model(x))
    assert not model.layers[1].variant.computes and not model.layers[1].beyond_keras
    assert not LSTM(3, norm_epsilon=0.5).beyond_keras  # nothing reads it


def test_a_configuration_is_not_the_layer(rng):
    layer = LSTM(3, activation=Curve("elu", 0.5))
    layer.get_config()["activation"]["config"]["alpha"] = 9
    assert layer.get_config()["activation"]["config"]["alpha"] == layer.activation.alpha == 0.5


def test_weights_that_do_not_fit_leave_an_unbuilt_layer_unbuilt(rng):
    for make in (lambda: LSTM(6, projection=3), lambda: Bidirectional(LSTM(6))):
        layer, other = make(), make()
        other.build((None, None, 7))
        five = make()
        five.build((None, None, 5))
        with pytest.raises(FastLSTMError, match="set_weights"):
            layer.set_weights(five.get_weights()[:-1])
        layer.set_weights(other.get_weights())


def test_curves_are_for_an_lstm_alone():
    for make in (lambda: Dense(3, activation=Curve("elu")), lambda: GRU(3, activation=Curve("elu")),
                 lambda: LSTMCell(3, activation=Curve("elu"))):  # fmt: skip
        with pytest.raises(FastLSTMError, match="LSTM"):
            make()
    with pytest.raises(FastLSTMError, match="called"):
        Curve("elu")(np.zeros(3))


def test_what_graphs_and_wrappers_cannot_hold_is_refused():
    with pytest.raises(FastLSTMError, match="return_gates"):
        Sequential([Input((None, 3)), LSTM(4, return_gates=True)])
    for options in ({"return_gates": True}, {"time_major": True}):
        for wrapper in (Bidirectional, TimeDistributed):
            with pytest.raises(FastLSTMError, match="neither"):
                wrapper(LSTM(4, **options))
    with pytest.raises(FastLSTMError, match="return_gates"):
        variant_of(np.random.default_rng(0), 3, 4, return_gates=True).stream()
    unlike = Bidirectional(LSTM(4, projection=2), "sum", backward_layer=LSTM(4, go_backwards=True))
    with pytest.raises(FastLSTMError, match="equal units"):
        unlike.compute_output_shape((None, 5, 3))


def test_states_of_the_wrong_width_are_named(rng):
    layer = variant_of(rng, 4, 6, projection=3)
    with pytest.raises(FastLSTMError, match=r"initial_state h has shape \(2, 6\); expected \(2, 3\)"):
        layer(np.zeros((2, 5, 4)), initial_state=[np.zeros((2, 6)), np.zeros((2, 6))])
    with pytest.raises(FastLSTMError, match="weights"):
        layer.set_weights(weights_for(rng, layer, 4)[:-1])
