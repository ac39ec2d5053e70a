"""The heap of a running Go program, read from outside its memory."""

import _collections_abc
import sys

# When `array` is loaded it registers with collections.abc, which is _collections_abc by another name (that is all of
# collections/abc.py). The package around it takes a millisecond to import, and nothing here needs it.
if "collections" not in sys.modules:
    sys.modules["collections"] = sys.modules["collections.abc"] = _collections_abc
    try:
        import array  # noqa: F401  (for its effect)
    finally:
        del sys.modules["collections"], sys.modules["collections.abc"]
