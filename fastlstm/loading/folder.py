"""Reading a model saved as a plain directory, with the members of a .keras file as its files."""

from __future__ import annotations

import os
import stat

from fastlstm.errors import ModelFileError
from fastlstm.loading.jsonrules import shown

_NAMES = ("config.json", "metadata.json", "model.weights.h5", "model.weights.npz", "variables.h5")


class Folder:
    """The files of a model in one directory.

    Attributes
    ----------
    members : dict of str to int
        Sizes of those that are there, by name.
    """

    def __init__(self, path: str | os.PathLike[str], max_file_size: int) -> None:
        self._path, self.members = path, {}
        for name in _NAMES:
            try:
                status = os.lstat(os.path.join(path, name))
            except FileNotFoundError:
                continue
            except OSError as error:
                raise ModelFileError(f"file {name} cannot be read: {error.strerror}") from None
            if not stat.S_ISREG(status.st_mode):
                raise ModelFileError(f"file {name} is a link or something else that is no regular file")
            if status.st_size > max_file_size:
                raise ModelFileError(f"file {name} has {status.st_size} bytes; max_file_size is {max_file_size}")
            self.members[name] = status.st_size

    def read(self, name: str, limit: int) -> bytes:
        """The content of a file, which may have at most ``limit`` bytes."""
        try:
            handle = os.open(os.path.join(self._path, name), os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
            with open(handle, "rb") as file:
                data = file.read(limit + 1)
        except OSError as error:
            raise ModelFileError(f"file {shown(name)} cannot be read: {error.strerror}") from None
        if len(data) > limit:
            raise ModelFileError(f"file {shown(name)} has more than {limit} bytes, more than this model needs")
        return data
