"""``albor monitor RUN``: a run as it goes, read off its directory: here, on a shared file system, finished or dead."""

from __future__ import annotations

import shutil
import sys
import time
from contextlib import suppress

from albor.cli.arguments import Arguments, bad
from albor.cli.screen import screen
from albor.cli.watch import Watch
from albor.runs.store import Store, outputs_of

EVERY = 1.0
"""Seconds between two looks."""


def run(arguments: Arguments) -> int:
    if len(arguments.words) != 1:
        raise bad("`albor monitor` takes one run", "albor monitor RUN; `albor runs` lists them")
    watch = Watch(Store(outputs_of(arguments.overrides)).find(arguments.words[0]).directory)
    if arguments.once or not sys.stdout.isatty():
        watch.poll()
        print("\n".join(screen(watch, shutil.get_terminal_size().columns)))
        return 0
    with suppress(KeyboardInterrupt):
        follow(watch)
    return 0


def follow(watch: Watch) -> None:
    """Draws the run again and again until it has ended."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console()
    with Live(console=console, auto_refresh=False) as live:
        while True:
            watch.poll()
            live.update(Text("\n".join(screen(watch, console.width)), no_wrap=True, overflow="crop"), refresh=True)
            if watch.ended:
                return
            time.sleep(EVERY)
