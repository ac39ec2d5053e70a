"""The subcommands: each is the module of its name, with `run(argv) -> exit code`."""

COMMANDS = {
    "explain": "where the resident bytes of a process are, and why (the default)",
    "reclaim": "have the kernel take lazily freed pages now",
    "record": "keep a snapshot, to be explained later or elsewhere",
    "policy": "what a Go version, kernel and GODEBUG do with released memory",
    "causes": "the catalogue: what whyrss knows of each cause",
    "lab": "reproduce a cause on this machine",
}
