"""Ctrl-C and SIGTERM as a question: asked to stop?"""

import signal

INTERRUPTED = 130
"""Exit status of a command that was asked to stop."""


class StopSignals:
    """Whether Ctrl-C or SIGTERM has come.

    Parameters
    ----------
    second_ends : bool
        Whether the second one ends the program at once; else it changes nothing.
    """

    def __init__(self, *, second_ends: bool = True) -> None:
        self._come, self._second_ends = False, second_ends
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def __call__(self) -> bool:
        return self._come

    def _note(self, number: int, _frame: object) -> None:
        self._come = True
        if self._second_ends:
            signal.signal(number, signal.default_int_handler)
