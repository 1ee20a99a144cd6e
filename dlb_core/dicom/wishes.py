"""What a caller may say of DICOM that it sends; light, for the service's own start."""

from typing import Annotated

from pydantic import Field

from dlb_core.contracts import Message


class NamedSeries(Message):
    """Series that are to be taken, whatever the rules say of them."""

    t1w: Annotated[int | None, Field(ge=0, le=2**31 - 1, description="series number")] = None
    flair: Annotated[int | None, Field(ge=0, le=2**31 - 1, description="series number")] = None
