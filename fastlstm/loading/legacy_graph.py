"""How the layers of a Functional model are connected: calls as Keras 1 and 2 wrote them, in Keras 3's form."""

from __future__ import annotations

from typing import Any

from fastlstm.errors import ModelFileError, UnsupportedLayerError
from fastlstm.loading.jsonrules import shown

_CONSTANT = "_CONSTANT_VALUE"
_RECURRENT = {"LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"}


def modern_calls(calls: Any, node: dict[str, Any], first_calls: dict[str, int]) -> list[Any]:
    """A layer's ``inbound_nodes`` as ``{"args": [...], "kwargs": {...}}``, one for each call.

    Parameters
    ----------
    calls : object
        For each call, the first argument with ``[layer, call, output]`` or ``[layer, call, output, kwargs]``
        in place of its tensors: one alone, a list, or a structure of lists and objects. Tensors in the
        keyword arguments have the first form.
    node : dict
        The layer, in Keras 3's form.
    first_calls : dict of str to int
        The layers of the model, and the number by which the first call of each is referred to.
    """
    who = f"layer {shown(node['name'])}"
    if calls is None:
        return []
    if not isinstance(calls, list):
        raise ModelFileError(f"{who}: inbound_nodes is {shown(calls)}; expected a list")
    return [_call(call, node["class_name"], first_calls, who) for call in calls]


def modern_ends(ends: Any, first_calls: dict[str, int]) -> Any:
    """``input_layers`` or ``output_layers``, with the calls of some layers counted from 0.

    A list of one was how a single tensor was written; to Keras 3 it is a list.
    """
    if isinstance(ends, list) and len(ends) == 1 and _is_reference(ends[0]):
        ends = ends[0]
    return _counted(ends, first_calls)


def _counted(ends: Any, first_calls: dict[str, int]) -> Any:
    if _is_reference(ends):
        return [ends[0], ends[1] - first_calls.get(ends[0], 0), ends[2]]
    if isinstance(ends, list):
        return [_counted(value, first_calls) for value in ends]
    if isinstance(ends, dict):
        return {key: _counted(value, first_calls) for key, value in ends.items()}
    return ends


def _call(call: Any, class_name: str, first_calls: dict[str, int], who: str) -> dict[str, Any]:
    seen: list[dict[str, Any]] = [{}]
    inputs = _inputs(call, first_calls, who, seen)
    if isinstance(inputs, list) and len(inputs) == 1:
        inputs = inputs[0]
    kwargs = {key: _keyword(value, first_calls, who) for key, value in seen[-1].items()}
    if class_name in _RECURRENT:
        if kwargs.pop("constants", None) is not None:
            raise UnsupportedLayerError(f"{who}: is called with constants, which no layer of Keras's own takes")
        if isinstance(inputs, list) and inputs:
            kwargs["initial_state"] = inputs[1:]  # Keras 2 made inputs of them
            inputs = inputs[0]
    return {"args": [inputs], "kwargs": kwargs}


def _inputs(value: Any, first_calls: dict[str, int], who: str, seen: list[dict[str, Any]]) -> Any:
    """The first argument. Each of its tensors repeats the keyword arguments; Keras reads the last ones."""
    if isinstance(value, list) and value and isinstance(value[0], str):
        if len(value) == 4 and isinstance(value[3], dict):
            seen.append(value[3])
            value = value[:3]
        if len(value) == 3 and value[0] == _CONSTANT:
            return value[2]
        if not _is_reference(value):
            raise ModelFileError(f"{who}: an input is {shown(value)}; expected [layer, call, output]")
        return _tensor(value, first_calls, who)
    if isinstance(value, list):
        return [_inputs(item, first_calls, who, seen) for item in value]
    if isinstance(value, dict):
        return {key: _inputs(item, first_calls, who, seen) for key, item in value.items()}
    raise ModelFileError(f"{who}: an input is {shown(value)}; expected [layer, call, output]")


def _keyword(value: Any, first_calls: dict[str, int], who: str) -> Any:
    if _is_reference(value) and value[0] in first_calls:
        return _tensor(value, first_calls, who)
    if isinstance(value, list):
        return [_keyword(item, first_calls, who) for item in value]
    if isinstance(value, dict):
        return {key: _keyword(item, first_calls, who) for key, item in value.items()}
    return value


def _is_reference(value: Any) -> bool:
    return isinstance(value, list) and [type(item) for item in value] == [str, int, int]


def _tensor(value: list[Any], first_calls: dict[str, int], who: str) -> dict[str, Any]:
    layer, call, output = value
    if layer not in first_calls:
        raise ModelFileError(f"{who}: an input is from the layer {shown(layer)}, which the model does not have")
    history = [layer, call - first_calls[layer], output]
    if history[1] < 0 or output < 0:
        raise ModelFileError(f"{who}: an input is {shown(value)}, a call that was never made")
    return {"class_name": "__keras_tensor__", "config": {"keras_history": history}}
