"""The text of --help."""

HELP = """\
usage: whyrss TARGET [--json] [--basis auto|page|vma] [--freeze]
              [--fail-on note|problem]
       whyrss COMMAND ...

Says where every resident byte of a process is, and why it was not returned to
the operating system. TARGET is a PID, a process name or a recording.

  -p, --pid           TARGET is a PID or a name, whatever else it could be
  --json              one JSON document (schema whyrss/1)
  --basis BASIS       what the account is made from: page (of Go programs), vma,
                      or auto, the finest that can be had
  --freeze            stop a Go program while its memory is read (for some
                      milliseconds): exact figures also while it allocates
  --fail-on WEIGHT    exit 1 when there is a finding of that weight or a heavier
  --no-color          no colours on a terminal either (also: NO_COLOR)

commands (each with --help):
  reclaim TARGET      have the kernel take lazily freed pages now
  record TARGET -o F  keep a snapshot, to be explained later or elsewhere
  policy GOVERSION    what this Go, kernel and GODEBUG do with released memory
  causes [NAME]       the catalogue; with NAME what is known of that cause
  lab [CAUSE]         reproduce a cause; lab run and lab kernel: the mechanism;
                      lab matrix: every cause against every program

Exit codes: 0 done; 1 --fail-on was reached; 2 wrong usage; 3 the target cannot
be read; 4 a change was refused or not verified; 130 interrupted.

Looking never changes the target, and only --freeze stops it. Other users'
processes need root or CAP_SYS_PTRACE.
"""
