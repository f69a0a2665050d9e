"""Peers: libraries that ours is compared with; they are no dependencies, and `make peers` installs them.

deepinv imports torchvision, torchmetrics, h5py, natsort and einops when it is imported, for data sets, metrics
and transforms that no test here touches. It is installed without its dependencies, and whichever of these are
missing are stood in for by empty modules: any name asked of them is an empty class, so that a use would fail.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Sequence

UNUSED = ("torchvision", "torchmetrics", "h5py", "natsort", "einops")


class _StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds and makes empty modules under the given top-level names."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def find_spec(
        self, fullname: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        known = fullname.split(".")[0] in self.names
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True) if known else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        module = types.ModuleType(spec.name)

        def name(asked: str) -> type:
            if asked.startswith("__"):
                raise AttributeError(asked)
            return type(asked, (), {})

        module.__dict__["__getattr__"] = name
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing to run."""


sys.meta_path.append(_StandIns([name for name in UNUSED if importlib.util.find_spec(name) is None]))
