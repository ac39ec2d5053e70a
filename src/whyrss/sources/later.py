"""What is read of a Go process's memory only when a cause asks for it: its goroutines, its pages of zeros.

It is of a later moment than the pages of the account, and of the same process: that is looked at before and after.
"""

from __future__ import annotations

from whyrss.errors import Missing, TargetError
from whyrss.goheap.cache import Cache
from whyrss.goheap.image import Image
from whyrss.goheap.locate import FOR_THE_WALK, locate
from whyrss.goheap.memory import ProcessMemory
from whyrss.snapshot import Deferred

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from whyrss.goheap.locate import Located
    from whyrss.goroutines import Goroutines
    from whyrss.read.pagemap import Pages
    from whyrss.shape import Shape, Zeros
    from whyrss.snapshot import Build

    T = TypeVar("T")
    Reading = Callable[[ProcessMemory, Image, Located], T]

FOR_GOROUTINES = (*FOR_THE_WALK, "moduledata")


class Later:
    """`same` raises TargetError where the PID is no longer the process that was read."""

    def __init__(self, pid: int, build: Build, same: Callable[[], None]) -> None:
        self._pid = pid
        self._build = build
        self._same = same

    def sections(self, shape: Callable[[], Shape], pages: Pages) -> dict[str, object]:
        return {
            "Goroutines": Deferred(self._goroutines),
            "Zeros": Deferred(lambda: self._zeros(shape(), pages)),
        }

    def _goroutines(self) -> Goroutines:
        from whyrss.goheap.goroutines import read_goroutines

        return self._read(lambda memory, image, located: read_goroutines(memory, located, image))

    def _zeros(self, shape: Shape, pages: Pages) -> Zeros:
        from whyrss.goheap.zeros import zeros_of

        return self._read(lambda memory, image, located: zeros_of(memory, shape, pages))

    def _read(self, reading: Reading[T]) -> T:
        try:
            self._same()
            with ProcessMemory(self._pid) as memory, Image.of(memory) as image:
                found = reading(
                    memory, image, locate(memory, image, self._build, Cache.of_user(), wanted=FOR_GOROUTINES)
                )
            self._same()
        except TargetError as error:
            raise Missing(str(error)) from None
        return found
