"""What this room raises when its input, not its code, is wrong."""


class ProxyError(ValueError):
    """A user's mistake: one line that says what is wrong, and one that says what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Unreadable(ProxyError):
    """A record or a file is bad; others beside it may be good."""
