"""What every kind of message body can do."""

from abc import ABC, abstractmethod
from typing import Self


class MessageBody(ABC):
    """Content of one kind of message: a frozen value that knows its bytes.

    A body is checked when it is made. Coordinates are those of the wire (millimetres, patient in RAS);
    ``coordinates.py`` alone converts them. Numbers that are not finite are carried, because a tracker says so that
    it does not see a tool; whoever makes a pose of them asks ``fault`` first.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def type_name(self) -> str:
        """Type in the header, at most 12 characters of ASCII."""

    @abstractmethod
    def encode(self) -> bytes:
        """Content as bytes, without header and metadata; raises NetworkError where it does not fit its fields."""

    @classmethod
    @abstractmethod
    def decode(cls, type_name: str, content: memoryview) -> Self:
        """Body of the bytes of a content.

        Raises:
            NetworkError: they are not of this kind; nothing larger than ``content`` was allocated.
        """
