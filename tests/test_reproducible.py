"""The same bits whatever the batch, the position in it, the alignment and, reproducible, the instruction set."""

import signal
import threading
import time

import numpy as np
import pytest
import recurrent
from conftest import FUSED

import fastlstm
from fastlstm import FastLSTMError


def layer_of(rng, features, units, dtype="float32", kind="lstm", **options):
    return recurrent.layer_of(rng, kind, features, units, return_sequences=True, dtype=dtype, **options)


@pytest.mark.parametrize("kind", recurrent.KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fused_kernels_agree_bit_for_bit(rng, dtype, kind):
    if len(FUSED) < 2:
        pytest.skip(f"only {FUSED} rounds multiply-adds once here")
    shapes = ((1, 1, 1, 9), (3, 20, 2, 30), (17, 33, 7, 11), (300, 64, 1, 40), (5, 130, 13, 4))
    for features, units, batch, steps in shapes:
        weights = layer_of(rng, features, units, dtype, kind).get_weights()
        x = rng.standard_normal((batch, steps, features)) * rng.choice([0.1, 1, 10])
        results = []
        for isa in FUSED:
            layer = recurrent.KINDS[kind](units, return_sequences=True, dtype=dtype, isa=isa, reproducible=True)
            layer.set_weights(weights)
            results.append(layer(x))
        assert all(np.array_equal(results[0], other) for other in results[1:]), (features, units)


def test_reproducible_refuses_a_kernel_that_rounds_twice():
    with pytest.raises(FastLSTMError, match=r"isa='scalar' does not round once.*scalar_fma"):
        fastlstm.LSTM(3, isa="scalar", reproducible=True)


@pytest.mark.parametrize("kind", recurrent.KINDS)
@pytest.mark.parametrize("units", [5, 16, 48, 130])
def test_rows_do_not_depend_on_their_batch(isa, rng, units, kind):
    layer = layer_of(rng, 6, units, kind=kind, isa=isa)
    x = rng.standard_normal((70, 9, 6)).astype(np.float32)
    alone = np.concatenate([layer(x[r : r + 1]) for r in range(70)])
    # tiles take ten rows and more, and sum in another order (tests/test_amx.py)
    for batch in (2, 3, 4, 5, 6, 7) if isa == "amx" else (2, 3, 4, 5, 6, 7, 13, 70):
        assert np.array_equal(layer(x[:batch]), alone[:batch])
    order = rng.permutation(70)
    assert np.array_equal(layer(x[order]), alone[order])


@pytest.mark.parametrize("kind", recurrent.KINDS)
def test_masked_rows_do_not_disturb_the_others(isa, rng, kind):
    layer = layer_of(rng, 6, 40, kind=kind, isa=isa)
    x = rng.standard_normal((9, 12, 6)).astype(np.float32)
    mask = rng.random((9, 12)) < 0.5
    mask[3] = True
    assert np.array_equal(layer(x, mask=mask)[3], layer(x)[3])


@pytest.mark.parametrize("kind", recurrent.KINDS)
def test_layout_and_alignment_do_not_matter(isa, rng, kind):
    layer = layer_of(rng, 6, 40, kind=kind, isa=isa)
    x = rng.standard_normal((3, 50, 6)).astype(np.float32)
    wanted = layer(x)
    for offset in range(1, 17):
        raw = np.empty(x.nbytes + 64, np.uint8)
        shifted = raw[offset : offset + x.nbytes].view(np.float32).reshape(x.shape)
        shifted[...] = x
        assert np.array_equal(layer(shifted), wanted)
    assert np.array_equal(layer(np.asfortranarray(x)), wanted)


def test_one_layer_serves_many_threads(rng):
    layer = layer_of(rng, 8, 64)
    inputs = [rng.standard_normal((2, 100, 8)).astype(np.float32) for _ in range(8)]
    wanted, wrong = [layer(x) for x in inputs], []

    def work(n):
        for _ in range(30):
            if not np.array_equal(layer(inputs[n]), wanted[n]):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_interpreter_runs_on_during_a_long_call(rng):
    layer = layer_of(rng, 64, 512)
    x = rng.standard_normal((8, 200, 64)).astype(np.float32)
    counted = 0
    done = threading.Event()

    def work():
        layer(x)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not done.is_set():
        counted += 1
        time.sleep(0)
    thread.join()
    assert counted > 20  # a held lock would leave this thread one turn or two


def interrupted(call, error=KeyboardInterrupt):
    """Seconds from a Ctrl-C, sent while ``call`` runs, to the error it ends with."""
    sent = []

    def send():
        sent.append(time.perf_counter())
        signal.raise_signal(signal.SIGINT)

    timer = threading.Timer(0.3, send)
    timer.start()
    with pytest.raises(error):
        call()
    timer.join()
    return time.perf_counter() - sent[0]


AT_ONCE = 5.0  # seconds; a tenth of one is the aim, but not on a machine that others share


def test_ctrl_c_stops_a_long_call_and_leaves_a_stateful_layer_as_it_was(rng):
    layer = layer_of(rng, 64, 512, stateful=True)
    short = rng.standard_normal((1, 3, 64)).astype(np.float32)
    layer(short)
    before = layer.states
    endless = np.broadcast_to(short[:, :1], (1, 10_000_000, 64))  # minutes of work in no memory
    layer.return_sequences = False
    assert interrupted(lambda: layer(endless)) < AT_ONCE
    for found, wanted in zip(layer.states, before, strict=True):
        assert np.array_equal(found, wanted)
    layer(short)


def test_ctrl_c_stops_a_call_of_very_many_short_rows(rng):
    layer = layer_of(rng, 8, 32)
    layer.return_sequences = False
    many = np.broadcast_to(rng.standard_normal((1, 1, 8)).astype(np.float32), (4_000_000, 100, 8))
    assert interrupted(lambda: layer(many)) < AT_ONCE


def test_ctrl_c_stops_a_stream_and_leaves_it_where_it_was(rng):
    layer = layer_of(rng, 1, 256)
    stream, x = layer.stream(), np.zeros((400_000, 1), np.float32)
    stream.run(np.ones((3, 1)))
    before = stream.state
    assert interrupted(lambda: stream.run(x)) < AT_ONCE
    for found, wanted in zip(stream.state, before, strict=True):
        assert np.array_equal(found, wanted)
    ours = stream.step([1.0])  # and it goes on
    twin = layer.stream()
    twin.state = before
    assert np.array_equal(ours, twin.step([1.0]))


def test_ctrl_c_stops_a_long_dense_layer(rng):
    layer = fastlstm.layers.Dense(2000)
    layer.build((None, 2000))
    assert interrupted(lambda: layer(np.zeros((60_000, 2000), np.float32))) < AT_ONCE
