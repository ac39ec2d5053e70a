"""Where the mappings of a process lie once they begin and end at larger pages, as text of smaps."""

from __future__ import annotations

import re

from whyrss.read.pagemap import ANON

# Of the lines of a mapping in smaps (kB), those that are as large as what is resident.
AS_RESIDENT = ("Rss", "Pss", "Referenced")
AS_ANONYMOUS = ("Anonymous", "Private_Dirty", "Pss_Dirty", "Pss_Anon")
AS_FILE = ("Private_Clean", "Pss_File")
NONE = ("Shared_Clean", "Shared_Dirty", "AnonHugePages", "Pss_Shmem")
KIB = 1024


class Mapping:
    """One block of smaps, and where it comes to lie: [low, high) is old, [start, end) new."""

    def __init__(self, text: str, start: int, page_bytes: int) -> None:
        header, self.lines = text.split("\n", 1)
        addresses, self.words = header.split(" ", 1)
        self.low, self.high = (int(word, 16) for word in addresses.split("-"))
        self.start = max(self.low // page_bytes * page_bytes, start)
        reserved = self.words.startswith("---")  # has no pages: it may be shorter
        fitting = self.high // page_bytes * page_bytes
        self.end = max(self.start, fitting) if reserved else self.start + up(self.high - self.low, page_bytes)
        self.anonymous = bool(int(re.search(r"^Anonymous: *(\d+)", self.lines, re.M)[1]))  # type: ignore[index]

    def place(self, address: int) -> int:
        return min(self.start + max(0, address - self.low), self.end)

    def text(self, blocks: dict[int, int], page_bytes: int) -> str:
        """`blocks`: the flags of each resident page of the kernel's, by its address."""
        inside = [flags for at, flags in blocks.items() if self.start <= at < self.end]
        resident = len(inside) * page_bytes // KIB
        anonymous = inside.count(ANON) * page_bytes // KIB
        values = dict.fromkeys(AS_RESIDENT, resident) | dict.fromkeys(AS_ANONYMOUS, anonymous)
        values |= dict.fromkeys(AS_FILE, resident - anonymous) | dict.fromkeys(NONE, 0)
        values |= {"Size": (self.end - self.start) // KIB}
        values |= {"KernelPageSize": page_bytes // KIB, "MMUPageSize": page_bytes // KIB}
        return f"{self.start:08x}-{self.end:08x} {self.words}\n{with_values(self.lines, values)}"


class Space:
    """All mappings of a process."""

    def __init__(self, smaps: str, page_bytes: int) -> None:
        self.mappings: list[Mapping] = []
        end = 0
        for text in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", smaps, flags=re.M)[1:]:
            if "[vsyscall]" not in text:  # only amd64 has it
                self.mappings.append(Mapping(text, end, page_bytes))
                end = self.mappings[-1].end

    def place(self, address: int) -> int:
        """Where an address comes to lie; one between mappings stays, as far as its neighbours let it."""
        least, most = 0, 1 << 64
        for mapping in self.mappings:
            if mapping.low <= address < mapping.high:
                return mapping.place(address)
            if mapping.high <= address:
                least = mapping.end
            else:
                most = mapping.start
                break
        return min(max(address, least), most)

    def places(self, start: int, end: int) -> tuple[int, int]:
        """Both ends of a range; what is left of it where its mapping is shorter now."""
        low, last = self.place(start), self.place(end - 1)
        return low, max(low, min(last + 1, self.end_of(end - 1)))

    def end_of(self, address: int) -> int:
        """Where the mapping ends that the address is in; for one between mappings, itself and no more."""
        ends = (mapping.end for mapping in self.mappings if mapping.low <= address < mapping.high)
        return next(ends, self.place(address))


def up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def with_values(text: str, values: dict[str, int]) -> str:
    """Lines `Name:   123 kB` with other numbers, in the columns that the kernel writes."""

    def line(found: re.Match[str]) -> str:
        name = found[1]
        if name not in values:
            return found[0]
        width = len(found[0]) - len(f"{name}: kB")
        return f"{name}:{values[name]:>{width}} kB"

    return re.sub(r"^(\w+):[ \t]*\d+ kB$", line, text, flags=re.M)
