"""The import of `array` without the package around collections.abc."""

from __future__ import annotations

import os
import subprocess
import sys

import whyrss


def test_arrays_are_sequences_and_collections_is_itself() -> None:
    program = (
        "import sys; import whyrss.goheap; assert 'collections' not in sys.modules, 'imported'\n"
        "assert 'collections.abc' not in sys.modules\n"
        "import array, collections, collections.abc\n"
        "assert issubclass(array.array, collections.abc.MutableSequence)\n"
        "assert collections.abc.MutableSequence.__module__ == 'collections.abc'\n"
        "assert collections.OrderedDict and collections.abc.Mapping\n"
        "print(collections.__name__, collections.abc.__name__)"
    )
    environ = os.environ | {"PYTHONPATH": os.path.dirname(os.path.dirname(whyrss.__file__))}
    argv = [sys.executable, "-S", "-c", program]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["collections", "collections.abc"]
