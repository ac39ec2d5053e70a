"""A verdict as one JSON document, schema whyrss/1. Every key is always there; null is "not read"."""

from __future__ import annotations

import json

from whyrss.errors import Missing
from whyrss.read.cgroup import Cgroup
from whyrss.show.sentence import sentence
from whyrss.snapshot import Build, Host, Process
from whyrss.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.account import Line
    from whyrss.finding import Finding
    from whyrss.snapshot import Snapshot
    from whyrss.verdict import Verdict

SCHEMA = "whyrss/1"


def show(verdict: Verdict) -> str:
    """The document, ending in a newline."""
    return json.dumps(document(verdict), indent=2) + "\n"


def document(verdict: Verdict) -> dict[str, object]:
    snapshot, account, diagnosis = verdict.snapshot, verdict.account, verdict.diagnosis
    return {
        "schema": SCHEMA,
        "taken_at": snapshot.taken_at,
        "whyrss": __version__,
        "process": _process(snapshot),
        "host": _host(snapshot),
        "basis": account.basis,
        "rss_bytes": account.rss_bytes,
        "account": _line(account.root),
        "unattributed_bytes": account.unattributed_bytes,
        "residue_bytes": account.residue_bytes,
        **_memstats(snapshot),
        "goroutines": _goroutines(snapshot),
        "size_classes": _size_classes(snapshot),
        "findings": [_finding(finding) for finding in diagnosis.findings],
        "not_checked": [{"cause": cause, "reason": _safe(reason)} for cause, reason in diagnosis.not_checked],
        "container": _container(snapshot),
        "verdict": sentence(verdict),
    }


def _memstats(snapshot: Snapshot) -> dict[str, object]:
    """runtime.MemStats, read from the target's memory where its heap was."""
    if not snapshot.asked_for("Heap"):
        return {"memstats": None, "memstats_from": None}
    from whyrss.goheap.heap import Heap

    heap = snapshot.get(Heap)
    return (
        {"memstats": heap.memstats, "memstats_from": "memory"} if heap else {"memstats": None, "memstats_from": None}
    )


def _size_classes(snapshot: Snapshot) -> list[dict[str, object]] | None:
    """By the size of a slot, with and without pointers apart; 0 for all objects with a span of their own."""
    if not snapshot.asked_for("Shape"):
        return None
    from whyrss.shape import Shape

    shape = snapshot.get(Shape)
    names = ("elem_bytes", "noscan", "spans", "span_bytes", "slots", "objects", "object_bytes", "slack_bytes")
    return [{name: getattr(found, name) for name in names} for found in shape.classes] if shape else None


def _goroutines(snapshot: Snapshot) -> dict[str, object] | None:
    """How many, by state, and by who made them and where they began."""
    if not snapshot.asked_for("Goroutines"):
        return None
    from whyrss.goroutines import Goroutines, Site

    found = snapshot.get(Goroutines)
    if found is None:
        return None
    document: dict[str, object] = {name: getattr(found, name) for name in Goroutines.__slots__ if name != "sites"}
    document["sites"] = [{name: getattr(site, name) for name in Site.__slots__} for site in found.sites]
    return document


def _safe(text: str) -> str:
    """Names are bytes to the kernel; what is no UTF-8 in them is written as \\udcXX escapes would be read."""
    return text.encode("utf-8", "backslashreplace").decode()


def _process(snapshot: Snapshot) -> dict[str, object]:
    from whyrss.environment import gogc, gomemlimit_bytes  # only the document shows them
    from whyrss.policy import parse_godebug

    process, build = snapshot[Process], snapshot.get(Build)
    is_go = build is not None and build.is_go
    try:
        environ: dict[str, str] | None = process.environ
    except Missing:
        environ = None
    return {
        "pid": process.pid,
        "comm": _safe(process.comm),
        "exe": _safe(process.exe) if process.exe is not None else None,
        "go_version": build.go_version if build is not None else None,
        "stripped": build.stripped if build is not None else None,
        "godebug": parse_godebug(environ.get("GODEBUG", "")) if is_go and environ is not None else None,
        "gogc": gogc(environ) if is_go and environ is not None else None,
        "gomemlimit_bytes": gomemlimit_bytes(environ) if is_go and environ is not None else None,
    }


def _host(snapshot: Snapshot) -> dict[str, object]:
    host = snapshot.get(Host)
    names = {"kernel": "kernel", "page_bytes": "page_bytes", "thp": "thp", "swap": "swap_bytes"}
    return {key: getattr(host, name) if host is not None else None for key, name in names.items()}


def _line(line: Line) -> dict[str, object]:
    return {
        "name": _safe(line.name),
        "bytes": line.bytes,
        "children": [_line(child) for child in line.children],
    }


def _finding(finding: Finding) -> dict[str, object]:
    return {
        "cause": finding.cause,
        "weight": finding.weight,
        "line": finding.line,
        "bytes": finding.bytes,
        "reclaimable_bytes": finding.reclaimable_bytes,
        "affects": list(finding.affects),
        "confidence": finding.confidence,
        "evidence": [
            {"what": found.what, "value": found.value, "unit": found.unit, "check": found.check}
            for found in finding.evidence
        ],
        "fixes": [{"kind": fix.kind, "text": fix.text, "safety": fix.safety} for fix in finding.fixes],
    }


def _container(snapshot: Snapshot) -> dict[str, object] | None:
    cgroup = snapshot.get(Cgroup)
    if cgroup is None or not cgroup.is_container:
        return None
    container = cgroup.container
    return {
        "id": container.id if container else None,
        "runtime": container.runtime if container else None,
        "pod": container.pod if container else None,
        "limit_bytes": cgroup.limit_bytes,
        "usage_bytes": cgroup.usage_bytes,
        "working_set_bytes": cgroup.working_set_bytes,
        "account": None,
        "findings": [],
    }
