"""/debug/pprof/heap: the heap profile that `go tool pprof` reads, as gzipped protobuf.

Fields and numbers: profile.proto of github.com/google/pprof, and runtime/pprof/protomem.go, writeHeapProto.
Encoding: protobuf.dev, "Encoding" (varints, and length-delimited fields).
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping, Sequence

from whyrss.lab.formats import FUNCTION_BYTES, RATE_BYTES, Record, addresses

# Field numbers of the message Profile.
SAMPLE_TYPE, SAMPLE, MAPPING, LOCATION, FUNCTION, STRING_TABLE, TIME_NANOS = 1, 2, 3, 4, 5, 6, 9
PERIOD_TYPE, PERIOD = 11, 12

VALUES = (("alloc_objects", "count"), ("alloc_space", "bytes"), ("inuse_objects", "count"), ("inuse_space", "bytes"))
MAPPING_ID = 1
UINT64_MAX = (1 << 64) - 1
LENGTH_DELIMITED = 2


class Strings:
    """The string table of a profile: its first entry is always empty."""

    def __init__(self) -> None:
        self._numbers = {"": 0}

    def number(self, text: str) -> int:
        return self._numbers.setdefault(text, len(self._numbers))

    def encoded(self) -> bytes:
        return b"".join(delimited(STRING_TABLE, text.encode()) for text in self._numbers)


def profile(records: Sequence[Record], time_ns: int, rate_bytes: int = RATE_BYTES) -> bytes:
    """The records as they are: readers do not scale this format. `time_ns` is when, since the Unix epoch;
    `rate_bytes` is only named, as the period."""
    strings = Strings()
    places = addresses(records)
    ids = {name: number for number, name in enumerate(places, 1)}
    parts = [delimited(SAMPLE_TYPE, _value_type(strings, *value)) for value in VALUES]
    parts += [delimited(SAMPLE, _sample(strings, record, ids)) for record in records]
    parts.append(delimited(MAPPING, _mapping(strings, places)))
    parts += [delimited(LOCATION, _location(ids[name], address)) for name, address in places.items()]
    parts += [delimited(FUNCTION, _function(strings, ids[name], name)) for name in places]
    parts.append(delimited(PERIOD_TYPE, _value_type(strings, "space", "bytes")))
    parts += [number(PERIOD, rate_bytes), number(TIME_NANOS, time_ns), strings.encoded()]
    return gzip.compress(b"".join(parts), mtime=0)


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; a negative int64 as the uint64 of the same bits."""
    rest = value & UINT64_MAX
    encoded = bytearray()
    while rest > 0x7F:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def delimited(field: int, content: bytes) -> bytes:
    return varint(field << 3 | LENGTH_DELIMITED) + varint(len(content)) + content


def packed(field: int, values: Iterable[int]) -> bytes:
    return delimited(field, b"".join(map(varint, values)))


def _value_type(strings: Strings, kind: str, unit: str) -> bytes:
    return number(1, strings.number(kind)) + number(2, strings.number(unit))


def _sample(strings: Strings, record: Record, ids: Mapping[str, int]) -> bytes:
    """Locations from the innermost frame on, the values in the order of VALUES, and the size of an object."""
    values = (record.alloc_objects, record.alloc_bytes, record.inuse_objects, record.inuse_bytes)
    label = number(1, strings.number("bytes")) + number(3, record.object_bytes)
    return packed(1, (ids[name] for name in record.frames)) + packed(2, values) + delimited(3, label)


def _mapping(strings: Strings, places: Mapping[str, int]) -> bytes:
    """The made-up code; has_functions (7) tells readers to look for no symbols."""
    start = min(places.values(), default=0)
    limit = max(places.values(), default=0) + FUNCTION_BYTES
    name = number(5, strings.number("model"))
    return number(1, MAPPING_ID) + number(2, start) + number(3, limit) + name + number(7, True)


def _location(location_id: int, address: int) -> bytes:
    line = delimited(4, number(1, location_id))  # each location is one function, of the same number
    return number(1, location_id) + number(2, MAPPING_ID) + number(3, address) + line


def _function(strings: Strings, function_id: int, name: str) -> bytes:
    text = strings.number(name)
    return number(1, function_id) + number(2, text) + number(3, text)
