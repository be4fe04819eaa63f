"""Running programs that nobody trusts: bubblewrap around a few workers, one fresh set of namespaces per program."""
