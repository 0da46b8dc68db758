"""Loading a library without what it would load along and this project does not use of it."""

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from types import ModuleType

MONAI_OPTIONAL = ("ignite", "matplotlib", "mlflow", "pandas", "scipy.signal", "skimage", "sklearn", "transformers")
"""What MONAI loads where it is installed, for parts of it that read no scan: 1.7 of its 2.4 processor seconds."""


class _Absent(MetaPathFinder):
    """Modules that the thread which made this finder cannot import; other threads can."""

    def __init__(self, names: Sequence[str]):
        self.names, self.thread = names, threading.get_ident()

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        if threading.get_ident() != self.thread:
            return
        if any(f"{fullname}.".startswith(f"{name}.") for name in self.names):
            raise ModuleNotFoundError(f"{fullname} is not loaded along", name=fullname)


@contextmanager
def without(names: Sequence[str]) -> Iterator[None]:
    """Imports in this block, of this thread, go as if `names` were not installed, unless they are loaded already."""
    absent = _Absent(names)
    sys.meta_path.insert(0, absent)
    try:
        yield
    finally:
        sys.meta_path.remove(absent)


@contextmanager
def empty(names: Sequence[str]) -> Iterator[None]:
    """Modules that an import in this block finds empty, unless they are loaded already: a library asks for them."""
    stand_ins = {name: ModuleType(name) for name in names if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in stand_ins:
            del sys.modules[name]
