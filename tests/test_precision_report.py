"""What narrow weights cost and save is reported as one would work it out, in Python and on the command line."""

from __future__ import annotations

import json
import re
import threading
from importlib.resources import files

import numpy as np
import pytest
from precise import INSIDE, inputs, told
from recurrent import layer_of

import fastlstm
from fastlstm import FastLSTMError, Functional, Input, Sequential, cli
from fastlstm.layers import LSTM, Bidirectional, Dense, LSTMCell
from fastlstm.precision import PRECISIONS, recurrent_layers

NARROW = PRECISIONS[1:]
SUNSPOTS = str(files("fastlstm") / "data" / "sunspots.keras")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_report_has_the_numbers_that_one_works_out(saved, precision, rng):
    model, plain, x = fastlstm.load_model(saved, precision=precision), fastlstm.load_model(saved), inputs(rng, 70)
    report = model.precision_report(x)
    exact = plain.predict(x, verbose=0).astype(np.float64)
    error = np.abs(model.predict(x, verbose=0).astype(np.float64) - exact)
    (output,) = report.outputs
    assert output.name == model.layers[-1].name
    wanted = [error.max(), error.mean(), np.sqrt((error**2).mean()), exact.max() - exact.min()]
    np.testing.assert_allclose(output[1:], wanted, rtol=1e-12)
    np.testing.assert_allclose(output.relative, np.array(wanted[:3]) / wanted[3], rtol=1e-12)
    for found, of in ((report.nbytes, model), (report.float32_nbytes, plain)):
        assert found == sum(layer._packed().nbytes for layer in recurrent_layers(of))
    assert set(report.precisions.values()) == {precision} and len(report.precisions) == INSIDE
    text = str(report)
    assert output.name in text and f"{output.max:.1e}" in text and f"lstm {precision}"[:4] in text
    assert len({len(line) for line in text.splitlines()[3:]}) == 1


def test_a_report_changes_nothing_and_takes_what_predict_takes(saved, rng):
    model, x = fastlstm.load_model(saved, precision="int8"), inputs(rng, 50)
    before = model(x)
    plans = [layer._packed() for layer in recurrent_layers(model)]
    wanted = model.precision_report(x)
    batches = [x[:20], x[20:40], x[40:]]
    for given in (x.tolist(), [x], {model.input_names[0]: x}, iter(batches), ((b, None) for b in batches)):
        assert model.precision_report(given) == wanted
    assert model.precision_report(x, batch_size=7) == wanted
    assert model.precision_report(iter(batches), steps=2) == model.precision_report(x[:40])
    assert model.precision_report(x, batch_size=20, steps=1) == model.precision_report(x[:20])
    assert model.precision_report(x[:0]).outputs[0][1:] == (0, 0, 0, 0)
    assert told(model) == ["int8"] * INSIDE and np.array_equal(model(x), before)
    assert all(layer._packed() is plan for layer, plan in zip(recurrent_layers(model), plans, strict=True))


def test_a_report_of_several_outputs_names_them(rng):
    x = Input((None, 4), name="x")
    y, h, c = LSTM(6, return_sequences=True, return_state=True, precision="bfloat16", name="both")(x)
    model = Functional(x, {"b": Dense(1, name="head")(h), "a": y, "c": c})
    report = model.precision_report(rng.standard_normal((2, 5, 4)))
    assert [output.name for output in report.outputs] == ["both[0]", "head", "both[2]"]
    assert all(0 < output.max < 0.02 for output in report.outputs)


def test_a_layer_reports_on_the_arguments_of_a_call(rng):
    layer = layer_of(rng, "gru", 4, 6, return_sequences=True, return_state=True, precision="float16", name="g")
    x, mask = rng.standard_normal((2, 5, 4)), rng.random((2, 5)) < 0.5
    report = layer.precision_report(x, initial_state=[np.ones((2, 6))], mask=mask)
    assert [output.name for output in report.outputs] == ["g[0]", "g[1]"] and report.precisions == {"g": "float16"}
    plain = layer_of(rng, "gru", 4, 6, return_sequences=True, return_state=True)
    plain.set_weights(layer.get_weights())
    for call in ({"initial_state": [np.ones((2, 6))], "mask": mask}, {}):
        found, exact = layer(x, **call), plain(x, **call)
        for output, a, b in zip(layer.precision_report(x, **call).outputs, found, exact, strict=True):
            assert output.max == np.abs(a.astype(float) - b).max() > 0
    cell = LSTMCell(5, precision="int8")
    cell.build((None, 4))
    states = [np.ones((2, 5))] * 2
    assert len(cell.precision_report(x[:, 0], states).outputs) == 3
    two = Bidirectional(LSTM(5, precision="int8", name="a"))
    two.build((None, None, 4))
    assert list(two.precision_report(x).precisions) == ["forward_a", "backward_a"]


def test_layers_of_one_name_are_told_apart(rng):
    inner = [Sequential([Input((None, 4)), LSTM(4, return_sequences=True, name="same", precision=p)]) for p in NARROW]
    model = Sequential([Input((None, 4)), *inner])
    report = model.precision_report(rng.standard_normal((2, 3, 4)))
    assert report.precisions == {"same": "bfloat16", "same (2)": "float16", "same (3)": "int8"}


def test_a_stateful_model_keeps_its_state_through_a_report(rng):
    layer = layer_of(rng, "lstm", 4, 6, stateful=True, precision="int8")
    x = rng.standard_normal((2, 5, 4)).astype(np.float32)
    layer(x)
    before = layer.states
    plain = layer_of(rng, "lstm", 4, 6)
    plain.set_weights(layer.get_weights())
    report = layer.precision_report(x)
    assert all(np.array_equal(a, b) for a, b in zip(layer.states, before, strict=True))
    exact, found = plain(x, initial_state=before), layer(x)
    assert report.outputs[0].max == np.abs(found.astype(float) - exact).max()


def test_what_is_not_finite_counts_as_infinitely_far_unless_it_is_the_same(rng):
    layer = layer_of(rng, "lstm", 4, 6, precision="int8")
    x = rng.standard_normal((2, 5, 4))
    x[0, 0, 0] = np.nan
    both = layer.precision_report(x).outputs[0]
    assert 0 < both.max < 0.1 and np.isfinite(both[1:]).all()  # NaN in both
    x[0, 0, 0] = np.inf
    kernel, *rest = layer.get_weights()
    layer.set_weights([np.abs(kernel), *rest])  # so that float32 has only open gates
    alone = layer.precision_report(x).outputs[0]
    assert alone.max == alone.mean == alone.rms == np.inf and np.isfinite(alone.span)
    assert re.search(r"\binf\b", str(layer.precision_report(x)))


def test_others_may_call_a_model_that_reports(saved, rng):
    model, x = fastlstm.load_model(saved, precision="int8"), inputs(rng)
    wanted, wrong, over = model(x), [], threading.Event()

    def work():
        while not over.is_set():
            if not np.array_equal(model(x), wanted):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    reports = [model.precision_report(x) for _ in range(10)]
    over.set()
    for thread in threads:
        thread.join()
    assert not wrong and all(report == reports[0] for report in reports)


class Clinging(fastlstm.layers.Layer):
    """A layer that cannot be copied."""

    def __init__(self, **base):
        super().__init__(**base)
        self.lock = threading.Lock()

    def call(self, inputs, *, mask=None):
        return inputs


def test_a_report_is_refused_where_it_can_say_nothing(rng):
    x = rng.standard_normal((2, 5, 4))
    with pytest.raises(FastLSTMError, match="LSTM 'a': precision_report needs weights"):
        LSTM(3, name="a").precision_report(x)
    with pytest.raises(FastLSTMError, match="precision_report is about recurrent layers"):
        Sequential([Input((5, 4)), Dense(2)]).precision_report(x)
    model = Sequential([Input((5, 4)), LSTM(2), Clinging()], name="m")
    with pytest.raises(FastLSTMError, match="'m': precision_report works on a copy"):
        model.precision_report(x)
    model = Sequential([Input((5, 4)), LSTM(2)], name="m")
    for arguments, pattern in (
        ((x[:, :, :3],), "expected"), ((iter([x]), 3), "batch_size is 3"), ((x, 0), "batch_size"),
        ((iter([x]), None, 0), "precision_report: steps"), ((iter([]),), "no batches"),
    ):  # fmt: skip
        with pytest.raises(FastLSTMError, match=pattern):
            model.precision_report(*arguments)


# ---- the command line -----------------------------------------------------------------------------


def run(capsys, *arguments):
    code = cli.main([str(a) for a in arguments])
    return code, *capsys.readouterr()


@pytest.mark.parametrize("precision", NARROW)
def test_predict_and_verify_take_it(capsys, tmp_path, precision, rng):
    x = rng.standard_normal((20, 22, 1)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    paths = (SUNSPOTS, tmp_path / "x.npy", "-o", tmp_path / "y.npy")
    code, out, err = run(capsys, "predict", *paths, "--precision", precision)
    assert (code, err) == (0, "") and "(20, 22, 1) -> (20, 1)" in out
    wanted = fastlstm.load_model(SUNSPOTS, precision=precision).predict(x, verbose=0)
    assert np.array_equal(np.load(tmp_path / "y.npy"), wanted)
    plain = fastlstm.load_model(SUNSPOTS).predict(x, verbose=0)
    np.savez(tmp_path / "v.npz", in0=x, out0=plain)
    assert run(capsys, "verify", SUNSPOTS, "--vectors", tmp_path / "v.npz")[0] == 0
    code, out, err = run(capsys, "verify", SUNSPOTS, "--vectors", tmp_path / "v.npz", "--precision", precision)
    allowed = {"bfloat16": 0.01001, "float16": 0.00101, "int8": 0.02001}[precision]
    assert (code, err) == (0, "") and f"recurrent layers in {precision}\n" in out and f"within {allowed:g}\n" in out
    np.savez(tmp_path / "v.npz", in0=x, out0=plain + 0.05 * np.maximum(1, abs(plain)))
    code, out, err = run(capsys, "verify", SUNSPOTS, "--vectors", tmp_path / "v.npz", "--precision", precision)
    assert (code, err) == (1, "") and out.endswith("NO\n")


def test_bench_takes_it(capsys, tmp_path):
    options = ("--shape", "vad128", "--rounds", "1", "--precision", "int8", "--json", tmp_path / "b.json")
    code, out, err = run(capsys, "bench", *options)
    assert (code, err) == (0, "") and "Weights of fastlstm in int8." in out
    result = json.loads((tmp_path / "b.json").read_text())
    (row,) = result["rows"]
    assert result["precision"] == "int8" and row["errors"]["numpy"] < 1e-5 < row["errors"]["fastlstm"] < 2e-2


@pytest.mark.parametrize("command", [("predict", "m", "x", "-o", "y.npy"), ("verify", "m"), ("bench",)])
def test_another_word_is_wrong_usage(capsys, command):
    code, out, err = run(capsys, *command, "--precision", "half")
    assert (code, out) == (2, "") and re.match(r"fastlstm: argument --precision: invalid choice: 'half'[^\n]*\n\Z", err)
    assert run(capsys, "convert", "m", "y.npz", "--precision", "int8")[0] == 2


def test_a_model_that_cannot_have_it_is_one_line(capsys, tmp_path):
    Sequential([Input((4,)), Dense(2)]).save(tmp_path / "m.npz")
    np.save(tmp_path / "x.npy", np.zeros((2, 4)))
    code, out, err = run(
        capsys, "predict", tmp_path / "m.npz", tmp_path / "x.npy", "-o", tmp_path / "y.npy", "--precision", "int8"
    )
    assert (code, out) == (1, "") and re.fullmatch(r"fastlstm: [^\n]*precision is 'int8'[^\n]*\n", err)
