"""One client of the server."""


class ServedClient:
    """What is kept of a client: whether it gets guidance, what it may still ask, what it was warned of.

    Args:
        requests_per_s: commands and requests that it may send, averaged over a second.
        now_s: when it connected.

    Attributes:
        guided: True where guidance is sent to it.
        warned_s: when it was last warned, by what of.
    """

    def __init__(self, requests_per_s: float, now_s: float) -> None:
        self.guided = True
        self.warned_s: dict[str, float] = {}
        self._rate = self._credit = requests_per_s
        self._credit_s = now_s

    def may_ask(self, now_s: float) -> bool:
        """True where one more command or request is within the limit, averaged over a second."""
        self._credit = min(self._credit + (now_s - self._credit_s) * self._rate, self._rate)
        self._credit_s = now_s
        if self._credit < 1.0:
            return False
        self._credit -= 1.0
        return True
