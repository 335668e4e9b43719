"""Parses the XML of a URDF that may come from anywhere: nothing is expanded, nothing fetched, nothing deep."""

import io
from typing import Any

from needleplan.errors import RobotError

#: Elements of a URDF lie six deep; a file nested deeper is made to exhaust its reader.
MAX_DEPTH = 32
#: Where a file is still to be expanded, in the words of its user.
XACRO = "it is a xacro file; expand it first (xacro robot.urdf.xacro > robot.urdf)"


def parse_xml(data: bytes) -> Any:
    """The root element.

    Args:
        data: the file's bytes.

    Returns:
        An ``xml.etree`` element.

    Raises:
        RobotError: a document type or entity (a few lines of them expand to gigabytes, or read other files), xacro,
            elements nested beyond reason, or no XML at all.
    """
    import defusedxml
    from defusedxml.ElementTree import ParseError, iterparse

    depth, root = 0, None
    try:
        for event, element in iterparse(io.BytesIO(data), events=("start", "end"), forbid_dtd=True):
            depth += 1 if event == "start" else -1
            root = element if root is None else root
            if depth > MAX_DEPTH:
                raise RobotError(f"its elements lie more than {MAX_DEPTH} deep, which no URDF needs")
            if event == "start" and element.tag.startswith("{") and "xacro" in element.tag:
                raise RobotError(XACRO)
    except defusedxml.DefusedXmlException as error:
        raise RobotError("document types and entities are not allowed in a URDF; remove the DOCTYPE") from error
    except (ParseError, ValueError, LookupError) as error:
        raise RobotError(f"this is not well-formed XML ({error})") from error
    return root
