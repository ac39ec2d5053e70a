"""Figures with the command that shows each of them by hand."""

from __future__ import annotations

from whyrss.errors import Missing
from whyrss.finding import Evidence
from whyrss.runtime import Runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.account import Account
    from whyrss.snapshot import Snapshot


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


def _json(snapshot: Snapshot) -> str:
    return f"whyrss --json {snapshot.target}"
