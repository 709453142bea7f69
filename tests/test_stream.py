"""A stream gives the layer's outputs, however the sequence is cut; its state can be read, set and copied."""

import gc
import sys
import threading

import numpy as np
import pytest
import recurrent

import fastlstm
from fastlstm import FastLSTMError


def layer_of(rng, features, units, isa=None, kind="lstm", **options):
    return recurrent.layer_of(rng, kind, features, units, return_sequences=True, return_state=True, isa=isa, **options)


@pytest.mark.parametrize("kind", recurrent.KINDS)
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize(
    ("batch", "features", "units"), [(1, 1, 1), (1, 3, 20), (2, 9, 33), (5, 2, 40), (8, 4, 130), (1, 520, 9)]
)
def test_every_prefix_equals_the_whole_bit_for_bit(isa, rng, batch, features, units, activation, kind):
    layer = layer_of(rng, features, units, isa, kind, activation=activation)
    x = rng.standard_normal((batch, 23, features)).astype(np.float32)
    whole, *ends = layer(x)
    stream = layer.stream(batch)
    for t in range(23):
        assert np.array_equal(stream.step(x[:, t]), whole[:, t])
    for found, wanted in zip(stream.state, ends, strict=True):
        assert np.array_equal(found, wanted)


def test_blocks_and_steps_mix(isa, rng):
    layer = layer_of(rng, 6, 25, isa)
    x = rng.standard_normal((3, 150, 6)).astype(np.float32)
    stream, at, parts = layer.stream(3), 0, []
    for length in (1, 0, 7, 64, 65, 13):
        parts.append(stream.run(x[:, at : at + length]))
        at += length
    assert at == 150
    assert np.array_equal(np.concatenate(parts, axis=1), layer(x)[0])


@pytest.mark.parametrize("kind", recurrent.KINDS)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("units", [1, 3, 5, 20, 118, 650])
def test_any_cut_equals_the_whole_on_any_threads(rng, units, threads, kind):
    layer = layer_of(rng, 7, units, threads=threads, kind=kind)
    for batch in (1, 3):
        x = rng.standard_normal((batch, 90, 7)).astype(np.float32)
        whole, *ends = layer(x)
        for _ in range(4):
            stream, at = layer.stream(batch), 0
            while at < 90:
                length = int(rng.choice([1, 2, 3, 20, 64]))
                found = stream.run(x[:, at : at + length]) if length > 1 else stream.step(x[:, at])[:, None]
                assert np.array_equal(found, whole[:, at : at + length])
                at += length
            for found, wanted in zip(stream.state, ends, strict=True):
                assert np.array_equal(found, wanted)


def test_one_row_may_leave_out_the_batch_axis(rng):
    layer = layer_of(rng, 4, 10)
    x = rng.standard_normal((1, 6, 4)).astype(np.float32)
    whole = layer(x)[0][0]
    a, b = layer.stream(), layer.stream()
    assert np.array_equal(np.stack([a.step(row) for row in x[0]]), whole)
    assert np.array_equal(b.run(x[0]), whole)


def test_any_array_will_do_for_x(rng):
    layer = layer_of(rng, 4, 10)
    x = rng.standard_normal(4).astype(np.float32)
    wanted = layer.stream().step(x)
    padded = np.zeros(8, np.float32)
    padded[::2] = x
    others = [list(map(float, x)), x.astype(">f4"), padded[::2], x.astype(np.float64), x[None]]
    for other in (*others, np.asfortranarray(x[None])):
        assert np.array_equal(np.ravel(layer.stream().step(other)), wanted)


def test_out_takes_the_result_and_no_step_allocates(rng):
    layer = layer_of(rng, 4, 30)
    stream, x = layer.stream(), rng.standard_normal((1, 4)).astype(np.float32)
    out = np.empty((1, 30), np.float32)
    assert stream.step(x, out) is out and stream.step(x, out=out) is out
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(1000):
        stream.step(x, out)
    assert sys.getallocatedblocks() - before < 10  # the loop's own counter, not one a step


def test_wrong_x_and_out_change_nothing(rng):
    layer = layer_of(rng, 4, 10)
    stream = layer.stream(2)
    stream.step(np.ones((2, 4)))
    before = stream.state
    read_only = np.empty((2, 10), np.float32)
    read_only.flags.writeable = False
    for x in (np.ones(4), np.ones((1, 4)), np.ones((2, 5)), np.ones((2, 4, 1)), "text", [[1, 2], [3]], None):
        with pytest.raises(FastLSTMError, match="stream: x"):
            stream.step(x)
    wrong = (np.empty((2, 9), np.float32), np.empty((2, 10)), np.empty((10, 2), np.float32).T, read_only, [0.0], "text")
    for out in wrong:
        with pytest.raises(FastLSTMError, match=r"stream: out is .*\(2, 10\)"):
            stream.step(np.ones((2, 4), np.float32), out)
    with pytest.raises(FastLSTMError, match="stream: out"):
        stream.run(np.ones((2, 3, 4)), np.empty((2, 3, 9), np.float32))
    with pytest.raises(FastLSTMError, match=r"stream: x has shape \(2, 4\); expected \(2, T, 4\)"):
        stream.run(np.ones((2, 4)))
    for found, wanted in zip(stream.state, before, strict=True):
        assert np.array_equal(found, wanted)


def test_state_can_be_saved_set_reset_and_copied(rng):
    layer = layer_of(rng, 3, 12)
    x = rng.standard_normal((2, 20, 3)).astype(np.float32)
    stream = layer.stream(2)
    stream.run(x[:, :7])
    saved, twin = stream.state, stream.copy()
    ahead = stream.run(x[:, 7:])
    assert np.array_equal(twin.run(x[:, 7:]), ahead)
    stream.state = saved
    assert np.array_equal(stream.run(x[:, 7:]), ahead)
    stream.reset()
    assert all((part == 0).all() for part in stream.state)
    assert np.array_equal(stream.run(x), layer(x)[0])
    for wrong in ([saved[0]], [saved[0], saved[1][:, :5]], 3, [saved[0], "c"]):
        with pytest.raises(FastLSTMError, match="stream: state"):
            stream.state = wrong


@pytest.mark.parametrize("kind", ["gru", "gru_before", "simple"])
def test_a_stream_of_one_state_takes_it_alone_or_in_a_list(rng, kind):
    layer = layer_of(rng, 3, 12, kind=kind)
    x = rng.standard_normal((2, 20, 3)).astype(np.float32)
    stream = layer.stream(2)
    stream.run(x[:, :7])
    (saved,), twin = stream.state, stream.copy()
    ahead = stream.run(x[:, 7:])
    assert np.array_equal(twin.run(x[:, 7:]), ahead)
    for given in (saved, [saved], (saved.tolist(),)):
        stream.state = given
        assert np.array_equal(stream.run(x[:, 7:]), ahead)
    stream.reset()
    assert (stream.state[0] == 0).all()
    for wrong in ([saved, saved], saved[:, :5], [], None, [None], 3, "h"):
        with pytest.raises(FastLSTMError, match="stream: state"):
            stream.state = wrong


def test_a_stream_is_refused_where_it_makes_no_sense(rng):
    with pytest.raises(FastLSTMError, match="stream needs weights"):
        fastlstm.LSTM(3).stream()
    with pytest.raises(FastLSTMError, match="go_backwards"):
        layer_of(rng, 3, 4, go_backwards=True).stream()
    for wrong in (0, -1, 1.5, True, "2"):
        with pytest.raises(FastLSTMError, match="batch_size"):
            layer_of(rng, 3, 4).stream(wrong)


def test_a_stream_keeps_its_weights_when_the_layer_gets_others(rng):
    layer = layer_of(rng, 3, 4)
    stream, x = layer.stream(), np.ones((1, 5, 3), np.float32)
    before = layer(x)[0]
    layer.set_weights([w * 2 for w in layer.get_weights()])
    assert np.array_equal(stream.run(x), before)
    assert not np.array_equal(layer(x)[0], before)


def test_streams_of_one_layer_run_in_many_threads(rng):
    layer = layer_of(rng, 8, 64)
    x = rng.standard_normal((1, 400, 8)).astype(np.float32)
    whole, wrong = layer(x)[0], []

    def work():
        stream = layer.stream()
        for _ in range(20):
            stream.reset()
            if not np.array_equal(stream.run(x), whole):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
