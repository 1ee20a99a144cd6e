"""Ctrl-C and SIGTERM as a question: asked to stop?"""

import signal

INTERRUPTED = 130
"""Exit status of a command that was asked to stop."""


class StopSignals:
    """Whether Ctrl-C or SIGTERM has come; the second one ends the program at once."""

    def __init__(self) -> None:
        self._come = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def __call__(self) -> bool:
        return self._come

    def _note(self, number: int, _frame: object) -> None:
        self._come = True
        signal.signal(number, signal.default_int_handler)
