"""Weights in one system's layout, and what they are in another's: round trips, and the systems themselves."""

import numpy as np
import pytest
from lstm_variants import oracle, weights_for
from reference import rounding_bound
from test_keras import as_list

from fastlstm import FastLSTMError, layouts
from fastlstm.layers import LSTM

UNITS, FEATURES, OUTPUTS = 5, 3, 4

#: What each system can hold beside kernel, recurrent_kernel and bias.
SYSTEMS = {
    "tf1": ("peepholes", "projection"),
    "torch": ("projection",),
    "onnx": ("peepholes",),
    "openvino": (),
    "onednn": ("peepholes", "projection"),
    "cudnn": ("projection",),
}
NEEDS_BIAS = ("tf1", "openvino", "onednn", "cudnn")


def drawn(rng, peepholes=False, projection=False, bias=True, dtype=np.float64):
    width = OUTPUTS if projection else UNITS
    shapes = {"kernel": (FEATURES, 4 * UNITS), "recurrent_kernel": (width, 4 * UNITS)}
    shapes |= {"bias": (4 * UNITS,)} if bias else {}
    shapes |= {"peephole_kernel": (3, UNITS)} if peepholes else {}
    shapes |= {"projection_kernel": (UNITS, OUTPUTS)} if projection else {}
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


def assert_equal(found, wanted, exact=True):
    for name, array in found._asdict().items():
        assert (array is None) == (name not in wanted), name
        if array is not None:
            assert array.flags.c_contiguous
            same = np.array_equal if exact else np.allclose
            assert array.dtype == wanted[name].dtype and same(array, wanted[name]), name


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("system", SYSTEMS)
def test_there_and_back(rng, system, dtype):
    there, back = getattr(layouts, f"keras_to_{system}"), getattr(layouts, f"{system}_to_keras")
    for number in range(8):
        options = {name: bool(number >> k & 1) for k, name in enumerate(("peepholes", "projection"))}
        if any(on and name not in SYSTEMS[system] for name, on in options.items()):
            continue
        bias = number < 4
        weights = drawn(rng, **options, bias=bias, dtype=dtype)
        if not bias and system in NEEDS_BIAS:
            wanted = {**weights, "bias": np.zeros(4 * UNITS, dtype)}
        else:
            wanted = weights
        given = {name: array.copy() for name, array in weights.items()}
        assert_equal(back(*there(**weights)), wanted, exact=system != "tf1")  # which takes 1 off f and adds it again
        assert all(np.array_equal(weights[name], given[name]) for name in given)


def test_the_same_layout_another_way(rng):
    w = drawn(rng, peepholes=True, projection=True)
    kernel, recurrent, bias = (w[name] for name in ("kernel", "recurrent_kernel", "bias"))
    parts = lambda array, order: {g: np.split(array, 4, -1)[k] for k, g in enumerate(order)}  # noqa: E731
    x, h, b = (parts(array, "ifco") for array in (kernel, recurrent, bias))

    tf1 = layouts.keras_to_tf1(*w.values(), forget_bias=0.5)
    b_tf1 = {**b, "f": b["f"] - 0.5}
    assert np.array_equal(tf1.kernel, np.block([[x[g] for g in "icfo"], [h[g] for g in "icfo"]]))
    assert np.array_equal(tf1.bias, np.concatenate([b_tf1[g] for g in "icfo"]))
    assert [np.array_equal(d, p) for d, p in zip(tf1[2:5], w["peephole_kernel"][[1, 0, 2]], strict=True)] == [True] * 3

    ih, hh, b_ih, b_hh, hr = layouts.keras_to_torch(kernel, recurrent, bias, projection_kernel=w["projection_kernel"])
    assert np.array_equal(ih, kernel.T) and np.array_equal(hh, recurrent.T)
    assert np.array_equal(b_ih + b_hh, bias) and np.array_equal(hr, w["projection_kernel"].T)

    plain = drawn(rng, peepholes=True)
    onnx = layouts.keras_to_onnx(*plain.values())
    assert np.array_equal(onnx.W[0], np.concatenate([parts(plain["kernel"], "ifco")[g].T for g in "iofc"]))
    assert np.array_equal(onnx.P[0], plain["peephole_kernel"][[0, 2, 1]].ravel())

    dnn = layouts.keras_to_onednn(*w.values())
    assert dnn.weights_layer.shape == (1, 1, FEATURES, 4, UNITS)
    assert np.array_equal(dnn.weights_layer[0, 0, 2, 1], x["f"][2]) and np.array_equal(dnn.bias[0, 0, 2], b["c"])

    cudnn = layouts.keras_to_cudnn(kernel, recurrent, bias, projection_kernel=w["projection_kernel"])
    wanted = [*(x[g].T for g in "ifco"), *(h[g].T for g in "ifco"), w["projection_kernel"].T]
    assert all(np.array_equal(f, v) for f, v in zip(cudnn.weights, wanted, strict=True))
    assert np.array_equal(np.concatenate(cudnn.biases[:4]), bias)


@pytest.mark.parametrize("system", ["onnx", "openvino"])
def test_directions_are_taken_one_by_one(rng, system):
    there, back = getattr(layouts, f"keras_to_{system}"), getattr(layouts, f"{system}_to_keras")
    sides = [drawn(rng), drawn(rng)]
    both = [np.concatenate(arrays) for arrays in zip(*(there(**side)[:3] for side in sides), strict=True)]
    for direction, side in enumerate(sides):
        assert_equal(back(*both, direction=direction), side)
        assert_equal(back(*both, direction=np.int64(direction)), side)
    for wrong in (2, -1, True, "0"):
        with pytest.raises(FastLSTMError, match="direction"):
            back(*both, direction=wrong)


def test_layers_and_directions_of_onednn(rng):
    grid = [[drawn(rng, True, True) for _ in range(2)] for _ in range(3)]
    found = [[layouts.keras_to_onednn(**w) for w in row] for row in grid]
    memories = [np.concatenate([np.concatenate([m[k] for m in row], axis=1) for row in found]) for k in range(5)]
    for layer in range(3):
        for direction in range(2):
            back = layouts.onednn_to_keras(*memories, layer=layer, direction=direction)
            assert_equal(back, grid[layer][direction])


def test_any_order_of_gates(rng):
    array = rng.standard_normal((8, 3))
    assert np.array_equal(layouts.gates(array, "keras", "onnx", axis=0), array[[0, 1, 6, 7, 2, 3, 4, 5]])
    assert np.array_equal(layouts.gates(array, "ifco", "fo", axis=0), array[[2, 3, 6, 7]])
    for system in layouts.ORDERS:
        there = layouts.gates(array, "keras", system, axis=0)
        assert np.array_equal(layouts.gates(there, system, "keras", axis=0), array)
    assert np.array_equal(layouts.gates(array, "keras", "tf1", np.int64(0)), layouts.gates(array, "keras", "tf1", 0))
    wrongs = [("keras", "keras", -1), ("keras", "ifcx", 0), ("iif", "f", 0), ("keras", "onnx", 2), ("", "", 0)]
    wrongs += [("keras", "", 0), (None, "keras", 0), (3, "keras", 0), (["i"], "keras", 0), ("keras", ["i"], 0)]
    wrongs += [("tf1", "keras", axis) for axis in ("x", None, 0.0, True, 10**30)]
    with pytest.raises(FastLSTMError, match="gates: array is not an array"):
        layouts.gates([[1], [2, 3]], "tf1", "keras")
    for wrong in wrongs:
        with pytest.raises(FastLSTMError, match="gates"):
            layouts.gates(array, *wrong)


WRONG = [
    ("keras_to_tf1", {"kernel": np.zeros((3, 7))}, "kernel has shape"),
    ("keras_to_tf1", {"recurrent_kernel": np.zeros((5, 16))}, "recurrent_kernel has shape"),
    ("keras_to_tf1", {"bias": "x"}, "bias is 'x'"),
    *(("keras_to_tf1", {"forget_bias": b}, "forget_bias") for b in ("x", None, True, [1, 2], float("nan"), 10**400)),
    ("keras_to_torch", {"bias": np.zeros(5)}, "bias has shape"),
    ("keras_to_onnx", {"peephole_kernel": np.zeros((2, 5))}, "peephole_kernel has shape"),
    ("keras_to_openvino", {"kernel": np.zeros(3)}, "kernel has shape"),
    ("keras_to_onednn", {"projection_kernel": np.zeros((4, 4))}, "projection_kernel has shape"),
    ("keras_to_cudnn", {"kernel": [["a"]]}, "kernel is"),
    *(
        (f"keras_to_{system}", {f"{name}_kernel": np.ones((2, 2))}, f"{name}_kernel is given")
        for system, held in SYSTEMS.items() for name in ("peephole", "projection")
        if not any(h.startswith(name) for h in held)
    ),
]  # fmt: skip


@pytest.mark.parametrize(("function", "change", "message"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_what_is_wrong_is_named(rng, function, change, message):
    with pytest.raises(FastLSTMError, match=f"{function}: .*{message}"):
        getattr(layouts, function)(**{**drawn(rng), **change})


def test_what_is_wrong_in_a_system_is_named(rng):
    w = drawn(rng, peepholes=True)
    tf1 = layouts.keras_to_tf1(*w.values())
    for change in ({"w_f_diag": None}, {"kernel": tf1.kernel[:4]}, {"bias": tf1.bias[:3]}, {"w_o_diag": np.ones(4)}):
        with pytest.raises(FastLSTMError, match="tf1_to_keras"):
            layouts.tf1_to_keras(**{**tf1._asdict(), **change})
    torch = layouts.keras_to_torch(*list(w.values())[:3])
    for change in ({"weight_hh": torch.weight_hh[:, 1:]}, {"weight_hr": np.ones((2, 3))}, {"bias_hh": np.ones(3)}):
        with pytest.raises(FastLSTMError, match="torch_to_keras"):
            layouts.torch_to_keras(**{**torch._asdict(), **change})
    onnx = layouts.keras_to_onnx(*w.values())
    for change in ({"R": onnx.R[:, :, 1:]}, {"B": onnx.B[:, 1:]}, {"P": onnx.P[0]}, {"W": onnx.W[:0]}):
        with pytest.raises(FastLSTMError, match="onnx_to_keras"):
            layouts.onnx_to_keras(**{**onnx._asdict(), **change})
    cudnn = layouts.keras_to_cudnn(*list(w.values())[:3])
    for change in ({"biases": cudnn.biases[1:]}, {"weights": cudnn.weights[1:]}, {"weights": [np.ones((5, 2))] * 8}):
        with pytest.raises(FastLSTMError, match="cudnn_to_keras"):
            layouts.cudnn_to_keras(**{**cudnn._asdict(), **change})
    with pytest.raises(FastLSTMError, match="cudnn_to_keras: weights is None; expected a list"):
        layouts.cudnn_to_keras(None, None)
    with pytest.raises(FastLSTMError, match="weights_layer has shape"):
        layouts.onednn_to_keras(np.zeros((1, 1, 3, 4, 0)), np.zeros((1, 1, 0, 4, 0)))


def test_a_forget_bias_is_one_that_the_weights_hold(rng):
    w = drawn(rng, dtype=np.float32)
    tf1 = layouts.keras_to_tf1(*w.values(), forget_bias=np.array(0.5))
    assert_equal(layouts.tf1_to_keras(*tf1, forget_bias=np.float32(0.5)), w, exact=False)
    for wrong in (1e300, True, float("inf"), None):
        with pytest.raises(FastLSTMError, match=r"forget_bias is .*that float32 holds"):
            layouts.tf1_to_keras(*tf1, forget_bias=wrong)
        with pytest.raises(FastLSTMError, match=r"forget_bias is .*that float32 holds"):
            layouts.keras_to_tf1(**w, forget_bias=wrong)


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_takes_what_keras_has_in_one_order(rng, system):
    w = drawn(rng, **{name: True for name in SYSTEMS[system]})
    found = getattr(layouts, f"keras_to_{system}")(*layouts.KerasWeights(**w))
    assert_equal(getattr(layouts, f"{system}_to_keras")(*found), w, exact=system != "tf1")


# -- the systems ------------------------------------------------------------------------------------


def layer_and_input(rng, **options):
    """Our layer with drawn weights, an input, and what float64 makes of it, with a float32 run beside it."""
    layer = LSTM(UNITS, return_sequences=True, return_state=True, **options)
    layer.set_weights(weights_for(rng, layer, FEATURES))
    x = rng.standard_normal((2, 6, FEATURES)).astype(np.float32)
    exact, plain = (oracle(layer, x, dtype=dtype) for dtype in (np.float64, np.float32))
    return layer, x, [[r[0], r[2], r[3]] for r in (exact, plain)]


def assert_within_rounding(found, exact, plain, steps=6):
    for f, e, p in zip(as_list(found), exact, plain, strict=True):
        assert f.shape == e.shape
        assert (np.abs(f - e) <= rounding_bound(e, p, steps)).all()


@pytest.mark.filterwarnings("ignore:LSTM with projections")  # of how torch is going to compute it
@pytest.mark.parametrize("projection", [None, OUTPUTS])
def test_torch_computes_with_them(rng, projection):
    torch = pytest.importorskip("torch")
    layer, x, wanted = layer_and_input(rng, projection=projection)
    w = layer.arrays
    module = torch.nn.LSTM(FEATURES, UNITS, batch_first=True, proj_size=projection or 0)
    found = layouts.keras_to_torch(**w)
    state = {f"{name}_l0": torch.from_numpy(a) for name, a in found._asdict().items() if a is not None}
    module.load_state_dict(state)
    with torch.no_grad():
        y, (h, c) = module(torch.from_numpy(x))
    assert_within_rounding([y.numpy(), h[0].numpy(), c[0].numpy()], *wanted)
    assert_within_rounding(list(layer(x)), *wanted)
    back = layouts.torch_to_keras(*(p.detach().numpy() for p in module.parameters()))
    assert_equal(back, {name: w[name] for name in w})


@pytest.mark.parametrize("peepholes", [False, True])
def test_onnxruntime_computes_with_them(rng, peepholes):
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    layer, x, wanted = layer_and_input(rng, peepholes=peepholes)
    found = layouts.keras_to_onnx(*layer.arrays.values())
    given = {name: array for name, array in found._asdict().items() if array is not None}
    names = ["X", "W", "R", "B", "", "", "", "P"] if peepholes else ["X", "W", "R", "B"]
    node = onnx.helper.make_node("LSTM", names, ["Y", "Y_h", "Y_c"], hidden_size=UNITS)
    value = lambda name: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)  # noqa: E731
    graph = onnx.helper.make_graph([node], "lstm", [value(n) for n in names if n], [value(n) for n in node.output])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    y, h, c = session.run(None, {"X": np.ascontiguousarray(x.swapaxes(0, 1)), **given})
    assert_within_rounding([y[:, 0].swapaxes(0, 1), h[0], c[0]], *wanted)


def test_openvino_computes_with_them(rng):
    openvino = pytest.importorskip("openvino")
    ops = pytest.importorskip("openvino.opset14")
    layer, x, wanted = layer_and_input(rng)
    found = layouts.keras_to_openvino(*layer.arrays.values())
    zeros = np.zeros((2, 1, UNITS), np.float32)
    sequence = ops.lstm_sequence(
        ops.parameter([2, 6, FEATURES], np.float32), zeros, zeros, np.full(2, 6, np.int32), *found,
        hidden_size=UNITS, direction="forward",
    )  # fmt: skip
    model = openvino.Model(sequence.outputs(), [sequence.input_value(0).get_node()], "lstm")
    precise = {"INFERENCE_PRECISION_HINT": "f32"}
    y, h, c = openvino.Core().compile_model(model, "CPU", precise)([x]).values()
    assert_within_rounding([y[:, 0], h[:, 0], c[:, 0]], *wanted)


def test_tensorflow_1_computes_with_them(rng, keras):
    import tensorflow as tf

    layer, x, wanted = layer_and_input(rng, peepholes=True)
    kernel, bias, f, i, o, _ = layouts.keras_to_tf1(*layer.arrays.values())
    zeros = np.zeros((2, UNITS), np.float32)
    found = tf.raw_ops.BlockLSTM(
        seq_len_max=6, x=x.swapaxes(0, 1), cs_prev=zeros, h_prev=zeros, w=kernel, wci=i, wcf=f, wco=o, b=bias,
        forget_bias=1.0, cell_clip=-1.0, use_peephole=True,
    )  # fmt: skip
    y, c = found.h.numpy().swapaxes(0, 1), found.cs.numpy()[-1]
    assert_within_rounding([y, y[:, -1], c], *wanted)
