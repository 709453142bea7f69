"""Errors raised by fastlstm; each message names the object, what was found, what was expected."""


class FastLSTMError(ValueError):
    """Base of every error that fastlstm raises on purpose."""


class UnsupportedLayerError(FastLSTMError):
    """A model holds a layer, or a layer option, that fastlstm does not compute."""


class ModelFileError(FastLSTMError):
    """A model file is damaged, hostile, or not a model file at all."""
