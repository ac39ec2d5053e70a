"""Figures with the command that shows each of them by hand."""

from __future__ import annotations

from whyrss.errors import Missing
from whyrss.finding import Evidence
from whyrss.runtime import Runtime
from whyrss.snapshot import Host, HugePages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.account import Account
    from whyrss.snapshot import Snapshot

THP = "sys/kernel/mm/transparent_hugepage"


def smaps(snapshot: Snapshot, field: str, value: int) -> Evidence:
    """A field of smaps, summed over all mappings, in bytes."""
    awk = f"awk '/^{field}:/ {{s += $2}} END {{printf \"%d\\n\", s * 1024}}'"
    return Evidence(f"{field} in smaps, all mappings", value, "bytes", f"{snapshot.cat.format('smaps')} | {awk}")


def line(snapshot: Snapshot, account: Account, path: str, what: str) -> Evidence:
    """A line of the account, in bytes. Its name has to be the only one in the tree, or the first."""
    name = path.rpartition("/")[2]
    sed = f"""sed -n '/"name": "{name}"/{{n;s/[^0-9]//gp;q}}'"""
    return Evidence(what, account.root.bytes_of(path), "bytes", f"{_json(snapshot)} | {sed}")


def figure(snapshot: Snapshot, name: str, what: str, unit: str = "bytes") -> Evidence:
    """A figure of the runtime: of a live process by the word in its memory, where it is one. Raises Missing."""
    runtime = snapshot[Runtime]
    value = runtime[name]
    place = runtime.places.get(name)
    if place is not None and snapshot.target.isdigit():
        at, width = place
        dd = f"dd if=/proc/{snapshot.target}/mem bs=1 skip={at} count={width} status=none"
        return Evidence(what, value, unit, f"{dd} | od -An -t{'d' if value < 0 else 'u'}{width} | tr -d ' '")
    if snapshot.target.isdigit():
        sed = f"""sed -n 's/^ *"{name}": \\(-\\{{0,1\\}}[0-9]*\\).*/\\1/p'"""
        return Evidence(what, value, unit, f"{_json(snapshot)} | {sed}")
    grep = f"""head -n 1 | grep -a -o '"{name}":-\\{{0,1\\}}[0-9]*' | head -n 1 | cut -d: -f2"""
    return Evidence(what, value, unit, f"{snapshot.cat.format('heap')} | {grep}")


def figures(snapshot: Snapshot, *names: tuple[str, str, str]) -> list[Evidence]:
    """Of (name, what, unit) each that this release keeps."""
    found = []
    for name, what, unit in names:
        try:
            found.append(figure(snapshot, name, what, unit))
        except Missing:
            continue
    return found


def status(snapshot: Snapshot, field: str, value: int, what: str) -> Evidence:
    """A field of /proc/PID/status that is in kB, in bytes."""
    awk = f"awk '/^{field}:/ {{printf \"%d\\n\", $2 * 1024}}'"
    return Evidence(what, value, "bytes", f"{snapshot.cat.format('status')} | {awk}")


def state(snapshot: Snapshot, field: str, value: int, what: str) -> Evidence:
    """A field of /proc/PID/status that is a number without a unit."""
    awk = f"awk '/^{field}:/ {{print $2}}'"
    return Evidence(what, value, "", f"{snapshot.cat.format('status')} | {awk}")


def flagged(snapshot: Snapshot, flag: str, value: int, what: str) -> Evidence:
    """Rss of the mappings whose VmFlags have that flag, in bytes."""
    awk = f'/^Rss:/ {{r = $2}} /^VmFlags:.* {flag}( |$)/ {{s += r}} END {{printf "%d\\n", s * 1024}}'
    return Evidence(what, value, "bytes", f"{snapshot.cat.format('smaps')} | awk '{awk}'")


def goroutines(snapshot: Snapshot, name: str, value: int, what: str, unit: str = "") -> Evidence:
    """A number that is told of all goroutines together, by its name in the document."""
    sed = f"""sed -n 's/^    "{name}": \\([0-9]*\\).*/\\1/p'"""
    return Evidence(what, value, unit, f"{_json(snapshot)} | {sed}")


def site(snapshot: Snapshot, number: int, name: str, value: int, what: str, unit: str = "") -> Evidence:
    """A number of those goroutines that one function made, by its place among the sites, from 1 on."""
    awk = f"""awk '/^        "count":/ {{n++}} n == {number} && /^        "{name}":/ {{printf "%d\\n", $2}}'"""
    return Evidence(what, value, unit, f"{_json(snapshot)} | {awk}")


def go_version(snapshot: Snapshot, version: str) -> Evidence:
    """The Go that built the program, as its build information says."""
    sed = """sed -n 's/^ *"go_version": "\\(go[0-9.]*\\).*/\\1/p'"""
    return Evidence("the Go that built it", version, "", f"{_json(snapshot)} | {sed}")


def huge_pages(snapshot: Snapshot) -> list[Evidence]:
    """What the machine does with transparent huge pages, as far as that was read."""
    host, huge = snapshot.get(Host), snapshot.get(HugePages)
    found = []
    if host and host.thp:
        sed = "sed 's/.*\\[\\(.*\\)\\].*/\\1/'"
        check = f"{_host_file(snapshot, f'{THP}/enabled')} | {sed}"
        found.append(Evidence("transparent_hugepage/enabled", host.thp, "", check))
    if huge:
        path = f"{THP}/khugepaged/max_ptes_none"
        found.append(Evidence("khugepaged/max_ptes_none", huge.max_ptes_none, "pages", _host_file(snapshot, path)))
    return found


def _host_file(snapshot: Snapshot, path: str) -> str:
    """The command that prints a file of the machine, beside the process's own."""
    return snapshot.cat.format("").rpartition("proc/")[0] + path


def _json(snapshot: Snapshot) -> str:
    return f"whyrss --json {snapshot.target}"
