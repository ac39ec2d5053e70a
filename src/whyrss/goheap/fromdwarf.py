"""The layout that a program's own DWARF gives: for releases that the table does not have.

Read is what the table names: its structures and their fields, over all releases. Constants are left out, for
nothing that reads a heap takes one from a layout.
"""

from __future__ import annotations

from whyrss.errors import FormatError
from whyrss.goheap.layout import OWN, Layout, edition, parse, vocabulary
from whyrss.goheap.words import WORD_BYTES
from whyrss.read.debugsections import open_section
from whyrss.read.dwarf import Types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from whyrss.goheap.cache import Cache
    from whyrss.goheap.image import Image
    from whyrss.read.buildinfo import Build
    from whyrss.read.debugsections import Stream
    from whyrss.read.dwarf import Struct

    Texts = dict[str, str]
    Names = Mapping[str, Mapping[str, int]]

HOW = "read from the program's own DWARF"
ABBREVIATIONS_MAX_BYTES = 16 << 20
STRING_MAX_BYTES = 256
STRINGS_MAX_BYTES = 64 << 20
# The largest structure of a runtime is heapArena of Go 1.12: 2 MiB.
STRUCT_MAX_BYTES = 16 << 20
NUMBERS_BYTES = (1, 2, 4, 8)
NESTED_MAX = 8
FIELDS_MAX = 4096
# Without these a heap is not even looked for.
NEEDED = ("mheap", "mspan", "mcache", "fixalloc", "mstats")


def own_layout(image: Image, build: Build, cache: Cache | None = None) -> Layout | None:
    """The layout by the program's own DWARF, or by what the cache kept of it; None where there is none that could be
    a runtime's."""
    kept = cache.load_layout(image, edition(build.arch)) if cache else {}
    layout = layout_from(kept, build)
    if layout is None:
        texts = read_structures(image, build.arch)
        layout = layout_from(texts, build)
        if layout and cache:
            cache.store_layout(image, edition(build.arch), texts)
    return layout


def layout_from(texts: Texts, build: Build) -> Layout | None:
    """The layout "go1.28.3 DWARF amd64" of these structures; None where they are not such as a runtime can have, or
    where the minor version, on which more than the layout depends, is not known."""
    if not _release(build)[4:5].isdigit():
        return None
    known = vocabulary(build.arch)
    if not all(name in texts for name in NEEDED):
        return None
    if not all(_is_sound(text, known.get(name, {})) for name, text in texts.items()):
        return None
    layout = Layout(_release(build).removeprefix("go"), build.arch, OWN, HOW, lambda _: texts)
    layout.name = f"{_release(build)} {OWN} {build.arch}"
    return layout


def read_structures(image: Image, arch: str) -> Texts:
    """The texts of the structures, as the table writes them; none where the program has no DWARF that can be read.

    At most 512 MiB of a section are gone through, 128 MiB about package runtime kept.
    """
    try:
        return dict(_texts(_types(image), vocabulary(arch)))
    except FormatError:
        return {}


def _release(build: Build) -> str:
    """The version alone, also of "devel go1.28-0123abc Tue Aug 4"; "" where it does not begin with "go1."."""
    words = (build.go_version or "").split()
    return next((word for word in words if word.startswith("go1.")), "")


def _types(image: Image) -> Types:
    info, abbreviations = open_section(image.elf, "info"), open_section(image.elf, "abbrev")
    if info is None or abbreviations is None or abbreviations.size_bytes > ABBREVIATIONS_MAX_BYTES:
        raise FormatError("no DWARF")
    return Types.of(info, abbreviations.take(abbreviations.size_bytes), _Strings(image))


class _Strings:
    """Strings by their offset in .debug_str and .debug_line_str, which are read when the first one is asked for."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._sections: dict[str, bytes] = {}

    def __call__(self, section: str, offset: int) -> bytes:
        if section not in self._sections:
            stream: Stream | None = open_section(self._image.elf, section)
            usable = stream is not None and stream.size_bytes <= STRINGS_MAX_BYTES
            self._sections[section] = stream.take(stream.size_bytes) if stream and usable else b""
        return self._sections[section][offset : offset + STRING_MAX_BYTES].partition(b"\0")[0]


def _texts(types: Types, names: Names) -> Iterator[tuple[str, str]]:
    structs = types.named(names.keys())
    for name, struct in structs.items():
        flat = _Flat(types, {other for other in structs if structs[other].members})
        flat.add(struct, "", 0)
        fields = [text for field, text in flat.fields.items() if field in names[name]]
        yield name, " ".join([str(struct.size_bytes), *fields])
        for field, stride in flat.strides.items():
            if f"{name}.{field}" in names:
                yield f"{name}.{field}", str(stride)


class _Flat:
    """The fields of a structure with those of nameless structures within, as tools/layouts/node.go has them."""

    def __init__(self, types: Types, named: set[str]) -> None:
        self._types = types
        self._named = named
        self.fields: dict[str, str] = {}
        self.strides: dict[str, int] = {}

    def add(self, struct: Struct, prefix: str, base: int, depth: int = 0) -> None:
        for member in struct.members:
            if member.name in ("_", "pad", ""):
                continue
            if len(self.fields) == FIELDS_MAX or depth == NESTED_MAX:
                raise FormatError("a structure of DWARF has too many fields")
            name, offset = prefix + member.name, base + member.offset
            inner, is_array = self._types.struct(member.type)
            known = inner.name if inner and inner.name in self._named else ""
            self.fields[name] = f"{name}={offset}:{member.width}" + (f":{known}" if known else "")
            if inner and not inner.name and inner.members:
                self.add(inner, f"{name}.", offset, depth + 1)
                if is_array:
                    self.strides[name] = inner.size_bytes


def _is_sound(text: str, widths: Mapping[str, int]) -> bool:
    """Whether a structure's text is one that a compiler can have made, and that can be worked with: its fields lie in
    it one behind the other, and what is a number in the table is one. A program may lie here as anywhere."""
    try:
        size, fields = parse(text)
    except ValueError:
        return False
    end = 0
    for name, (offset, width, _) in sorted(fields.items(), key=lambda item: item[1][:2]):
        if 0 < widths.get(name, 0) <= WORD_BYTES and (width not in NUMBERS_BYTES or offset % width):
            return False
        if "." not in name:  # else it lies in another field
            if not end <= offset <= offset + width:
                return False
            end = offset + width
        elif not 0 <= offset <= offset + width <= size:
            return False
    return end <= size <= STRUCT_MAX_BYTES
