"""Who may change the session: one client at a time."""

from needleplan.errors import NavigationError


class Control:
    """Control belongs to the first client that asks for it or sends a command that needs it, until it gives it back
    or is gone. Another client that tries is refused and told who has it; it never takes control by itself.

    Attributes:
        holder: number of the client; None where control is free.
    """

    def __init__(self) -> None:
        self.holder: int | None = None

    def require(self, peer: int) -> None:
        """Take control where it is free; NavigationError where another client has it."""
        if self.holder is None:
            self.holder = peer
        if self.holder != peer:
            raise NavigationError(
                f"client {self.holder} has control: this is taken from you once it sends 'release' or is gone"
            )

    def left(self, peer: int) -> None:
        """A client gave control back, or is gone."""
        if self.holder == peer:
            self.holder = None
