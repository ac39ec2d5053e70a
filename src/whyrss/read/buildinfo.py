"""How a Go program was built, from its ELF file alone.

Source: debug/buildinfo/buildinfo.go and runtime/debug/mod.go of Go 1.27 (both formats), cmd/link/internal/ld
(buildinfo in data.go, the " X:" and "-X:" suffixes in main.go).
"""

from __future__ import annotations

from whyrss.errors import FormatError
from whyrss.read.elf import DT_NEEDED, ET_DYN, PT_INTERP, PT_TLS, SHT_NOBITS, Elf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from whyrss.read.elf import ReadAt

MAGIC = b"\xff Go buildinf:"
ALIGN = 16
_HEADER_BYTES = 32
_FLAG_BIG_ENDIAN, _FLAG_INLINE = 1, 2

BLOB_BYTES = 1 << 16
_MAX_VERSION_BYTES = 4096
_MAX_MODINFO_BYTES = 1 << 20
_MAX_VARINT_BYTES = 10
MAX_CANDIDATES = 64
_QUOTES = ('"', "`")


class Build:
    """What the file says about its own build.

    is_go           it was built by Go (an ELF file of another language: False and all below None or empty)
    go_version      such as "go1.24.3", without experiments; None: not Go, or too old (before 1.13) to say
    experiments     GOEXPERIMENTs that differ from the defaults; they change runtime layouts
    main_module     path of the main module; None outside module mode
    module_version  "(devel)", "v1.2.3", ...
    path            import path of the main package
    settings        the build settings of Go >= 1.18, such as "-ldflags", "GOARCH", "vcs.revision"
    default_godebug GODEBUG settings that the program starts with (setting DefaultGODEBUG, Go >= 1.21)
    stripped        no symbol table; None when there are no section headers to say so
    has_dwarf       DWARF is in this file; None like `stripped`
    pie             loaded at an address that the kernel chooses (ET_DYN)
    cgo             the setting CGO_ENABLED; without it (Go < 1.18) whether it is linked with C libraries
    arch            GOARCH by e_machine
    """

    __slots__ = (
        "arch", "cgo", "default_godebug", "experiments", "go_version", "has_dwarf", "is_go", "main_module",
        "module_version", "path", "pie", "settings", "stripped",
    )  # fmt: skip

    def __init__(self, arch: str, pie: bool) -> None:
        self.arch = arch
        self.pie = pie
        self.is_go = False
        self.go_version: str | None = None
        self.experiments: list[str] = []
        self.main_module: str | None = None
        self.module_version: str | None = None
        self.path: str | None = None
        self.settings: dict[str, str] = {}
        self.default_godebug: dict[str, str] = {}
        self.stripped: bool | None = None
        self.has_dwarf: bool | None = None
        self.cgo: bool | None = None


def read_build(read_at: ReadAt, file_bytes: int) -> Build:
    """The build information of an ELF file of `file_bytes`, read with `read_at(offset, size) -> bytes`.

    Three or four reads for a program of Go >= 1.18 with section headers, at most 512 MiB for a file without.
    Raises FormatError when the file is not ELF, is truncated, or lies about its build information.
    """
    elf = Elf(read_at, file_bytes)
    build = Build(elf.arch, elf.kind == ET_DYN)
    if elf.has_sections:
        build.stripped = elf.section(".symtab") is None
        build.has_dwarf = _has_dwarf(elf)
    texts = _from_section(elf)
    if texts is None:
        from whyrss.read import buildscan

        marked = buildscan.is_marked(elf)
        texts = buildscan.texts_of(elf, marked)
        build.is_go = marked or texts is not None or buildscan.has_pclntab(elf)
    if texts is not None:
        build.is_go = True
        _set_version(build, texts[0])
        _set_module(build, texts[1])
    if build.is_go:
        build.cgo = _has_cgo(elf, build.settings)
    return build


def _has_dwarf(elf: Elf) -> bool:
    # Go before 1.19 with Go's own linker compresses DWARF into .zdebug_ sections; a file made by
    # "objcopy --only-keep-debug" is the other way round, its program sections are SHT_NOBITS.
    section = elf.section(".debug_info") or elf.section(".zdebug_info")
    return section is not None and section.kind != SHT_NOBITS and section.size_bytes > 0


def _has_cgo(elf: Elf, settings: dict[str, str]) -> bool:
    if "CGO_ENABLED" in settings:
        return settings["CGO_ENABLED"] == "1"
    if elf.first(PT_INTERP):
        return any(tag == DT_NEEDED for tag, _ in elf.dynamic)
    # A static program has thread-local storage only when a C library came with it.
    return elf.first(PT_TLS) is not None


# The two texts: version and module information


def _from_section(elf: Elf) -> tuple[str, str] | None:
    section = elf.section(".go.buildinfo")
    if section is None or section.kind == SHT_NOBITS:
        return None
    blob = elf.read(section.offset, min(section.size_bytes, BLOB_BYTES))
    at = next(aligned(blob, section.address), None)
    return None if at is None else texts_at(elf, section.offset + at, blob[at:])


def aligned(chunk: bytes, base: int) -> Iterator[int]:
    """Places of the magic in `chunk` whose address (or file offset) `base + place` is a multiple of 16."""
    at = -1
    for _ in range(MAX_CANDIDATES):
        at = chunk.find(MAGIC, at + 1)
        if at < 0:
            return
        if (base + at) % ALIGN == 0:
            yield at


def texts_at(elf: Elf, offset: int, blob: bytes) -> tuple[str, str]:
    """Version and module information from the header at a file offset, of which `blob` is a first part."""
    if len(blob) < _HEADER_BYTES:
        blob = elf.read(offset, _HEADER_BYTES)
    if len(blob) < _HEADER_BYTES:
        raise FormatError(f"truncated Go build information at file offset {offset}")
    flags = blob[15]
    if flags & _FLAG_INLINE:
        version, used = _inline_text(elf, offset, blob, _HEADER_BYTES, _MAX_VERSION_BYTES)
        modinfo, _ = _inline_text(elf, offset, blob, used, _MAX_MODINFO_BYTES)
    else:
        version, modinfo = _pointed_texts(elf, offset, blob)
    return version.decode("utf-8", "replace"), _without_sentinels(modinfo).decode("utf-8", "replace")


def _without_sentinels(modinfo: bytes) -> bytes:
    """16 bytes at both ends mark the text in memory (cmd/go/internal/modload, infoStart and infoEnd)."""
    return modinfo[16:-16] if len(modinfo) >= 33 and modinfo[-17] == 0x0A else b""


def _inline_text(elf: Elf, offset: int, blob: bytes, at: int, limit: int) -> tuple[bytes, int]:
    """Go >= 1.18: a text after its length as a varint, and the place after it."""
    prefix = blob[at : at + _MAX_VARINT_BYTES]
    if len(prefix) < _MAX_VARINT_BYTES:
        prefix = elf.read(offset + at, _MAX_VARINT_BYTES)
    size, used = _varint(prefix)
    start = at + used
    text = blob[start : start + size]
    if len(text) < size <= limit:
        text = elf.read(offset + start, size)
    if len(text) < size:
        raise FormatError(f"Go build information at file offset {offset} claims a text of {size} bytes")
    return text, start + size


def _varint(raw: bytes) -> tuple[int, int]:
    """The value of an unsigned LEB128 number, and how many bytes it takes."""
    value = 0
    for index, byte in enumerate(raw):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, index + 1
    raise FormatError("the length of a text in the Go build information is cut off")


def _pointed_texts(elf: Elf, offset: int, blob: bytes) -> tuple[bytes, bytes]:
    """Go <= 1.17: pointers to two Go strings, each in turn a pointer and a length."""
    address, word = elf.address_of(offset), elf.word_bytes
    big_endian = bool(blob[15] & _FLAG_BIG_ENDIAN)
    if address is None or blob[14] != word or big_endian != (elf.order == "big"):
        raise FormatError(f"Go build information at file offset {offset} does not fit this machine")
    version = _pointed_text(elf, address + 16, _MAX_VERSION_BYTES)
    modinfo = _pointed_text(elf, address + 16 + word, _MAX_MODINFO_BYTES)
    if not version:
        raise FormatError(f"Go build information at file offset {offset} has no version")
    return version, modinfo


def _pointed_text(elf: Elf, address: int, limit: int) -> bytes:
    """The Go string that the pointer at `address` points to.

    Empty when the string is in .bss: so is the module information of a program built outside module mode.
    """
    header = elf.pointer(address)
    raw = elf.read_address(header + elf.word_bytes, elf.word_bytes) if header else b""
    size = elf.number(raw) if len(raw) == elf.word_bytes else 0
    text = elf.pointer(header) if header and size else None
    if not text:
        return b""
    if size > limit:
        raise FormatError(f"Go build information claims a text of {size} bytes")
    found = elf.read_address(text, size)
    if len(found) < size:
        raise FormatError(f"a text of the Go build information is cut off: {len(found)} of {size} bytes")
    return found


# What the texts say


def _set_version(build: Build, text: str) -> None:
    """Split "go1.25.0 X:greenteagc,other"; from Go 1.26 on "go1.26.0-X:..." (go.dev/issue/75953)."""
    for separator in (" X:", "-X:"):
        version, found, experiments = text.partition(separator)
        if found:
            build.experiments = [name for name in experiments.split(",") if name]
            text = version
            break
    build.go_version = text


def _set_module(build: Build, text: str) -> None:
    """Lines "path P", "mod PATH VERSION SUM" and "build KEY=VALUE", with tabs; dependencies are not kept."""
    for line in text.split("\n"):
        kind, _, rest = line.partition("\t")
        if kind == "build":
            key, value = _setting(rest)
            build.settings[key] = value
        elif kind == "path":
            build.path = rest
        elif kind == "mod":
            module, _, rest = rest.partition("\t")
            build.main_module, build.module_version = module, rest.partition("\t")[0]
    for pair in build.settings.get("DefaultGODEBUG", "").split(","):
        key, found, value = pair.partition("=")
        if found:
            build.default_godebug[key] = value


def _setting(text: str) -> tuple[str, str]:
    """A build setting; key and value may each be quoted as in Go source."""
    key, _, value = text.partition("=")
    if text[:1] in _QUOTES or value[:1] in _QUOTES:
        from whyrss.read.quoted import split_setting

        return split_setting(text)
    return key, value
