"""One archive's DICOMweb services: QIDO-RS to find, WADO-RS to fetch, STOW-RS to store.

What is fetched goes to disk as it comes, under names of our own.

Source: DICOM PS3.18.
"""

import json
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self
from uuid import uuid4

import httpx
import pydicom
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from dlb_core.dicom.headers import STUDY_KEYWORDS
from dlb_core.errors import PacsUnavailable, StudyNotFound, UploadTooLarge
from dlb_core.pacs.archives import Archive

JSON = "application/dicom+json"
RELATED = 'multipart/related; type="application/dicom"'
MAX_JSON_BYTES = 256 * 1024 * 1024
_MALFORMED = (
    ArithmeticError,
    AttributeError,
    FormParserError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What readers raise on an answer that is not as it should be. No OSError: the disk is ours."""
_FAILED, _STORED, _UID = "00081198", "00081199", "00081155"
"""FailedSOPSequence, ReferencedSOPSequence, ReferencedSOPInstanceUID."""


class DicomWeb:
    """Talks to one archive.

    Every method raises `PacsUnavailable` where the archive does not answer, or not as it should.

    Parameters
    ----------
    archive : Archive
    """

    def __init__(self, archive: Archive) -> None:
        try:
            self._http = httpx.Client(
                base_url=archive.url + "/",
                timeout=archive.timeout_s,
                trust_env=False,
                verify=_trust(archive),
                auth=_login(archive),
                headers=_token(archive),
            )
        except (OSError, ValueError) as error:
            raise PacsUnavailable(
                f"the archive's certificates, password or token cannot be used "
                f"({type(error).__name__}): the service's operator must look"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def study(self, study_uid: str) -> pydicom.Dataset:
        """Whose study it is: patient and study attributes.

        Raises
        ------
        StudyNotFound
        """
        asked = {"StudyInstanceUID": study_uid, "includefield": ",".join(STUDY_KEYWORDS)}
        found = self._json("studies", asked)
        if not found:
            raise StudyNotFound("the archive has no study of this UID")
        with _faults():
            return _dataset(found[0])

    def series(self, study_uid: str, *, modality: str) -> list[str]:
        """UIDs of a study's series of one modality.

        Raises
        ------
        StudyNotFound
        """
        found = self._json(f"studies/{study_uid}/series", {"Modality": modality})
        if not found:
            raise StudyNotFound(f"the archive has no study of this UID with {modality} series")
        with _faults():
            return [str(_dataset(one).SeriesInstanceUID) for one in found]

    def headers(self, study_uid: str, series_uid: str) -> list[pydicom.Dataset]:
        """Headers of a series' images, without pixels."""
        found = self._json(f"studies/{study_uid}/series/{series_uid}/metadata", {})
        with _faults():
            return [_dataset(one) for one in found]

    def fetch(
        self,
        study_uid: str,
        series_uid: str,
        folder: Path,
        *,
        max_bytes: int,
        on_bytes: Callable[[int], None],
    ) -> list[Path]:
        """Fetch a series' files.

        Parameters
        ----------
        study_uid, series_uid : str
        folder : Path
            Existing and empty.
        max_bytes : int
            That the series may have.
        on_bytes : callable
            Told how many bytes are about to be written; may raise, where there is no room.

        Raises
        ------
        UploadTooLarge
        """
        path = f"studies/{study_uid}/series/{series_uid}"
        with (
            _faults(),
            self._http.stream("GET", path, headers={"Accept": RELATED}) as answer,
        ):
            _require_success(answer)
            kind, parameters = parse_options_header(answer.headers.get("content-type"))
            if kind != b"multipart/related" or not parameters.get(b"boundary"):
                raise PacsUnavailable("the archive's answer is not what WADO-RS prescribes")
            return _receive(answer, parameters[b"boundary"], folder, max_bytes, on_bytes)

    def store(self, objects: Sequence[bytes], uids: Sequence[str]) -> None:
        """Store DICOM objects; those that are there already count as stored.

        Parameters
        ----------
        objects : sequence of bytes
            Each a whole DICOM file.
        uids : sequence of str
            Their SOP Instance UIDs.
        """
        boundary = uuid4().hex
        body = b"".join(
            f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + one + b"\r\n"
            for one in objects
        )
        with _faults():
            answer = self._http.post(
                "studies",
                content=body + f"--{boundary}--\r\n".encode(),
                headers={"Content-Type": f"{RELATED}; boundary={boundary}", "Accept": JSON},
            )
            # 409 says which objects were not taken.
            if answer.status_code != httpx.codes.CONFLICT:
                _require_success(answer)
            _require_stored(_parsed(answer.content), set(uids))

    def _json(self, path: str, query: dict[str, str]) -> list[dict[str, Any]]:
        with (
            _faults(),
            self._http.stream("GET", path, params=query, headers={"Accept": JSON}) as answer,
        ):
            if answer.status_code in (httpx.codes.NOT_FOUND, httpx.codes.NO_CONTENT):
                return []
            _require_success(answer)
            body = bytearray()
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > MAX_JSON_BYTES:
                    raise PacsUnavailable("the archive's answer has no end")
            found = _parsed(bytes(body))
        if not isinstance(found, list):
            raise PacsUnavailable("the archive's answer is not what QIDO-RS prescribes")
        return found


def _receive(
    answer: httpx.Response,
    boundary: bytes,
    folder: Path,
    max_bytes: int,
    on_bytes: Callable[[int], None],
) -> list[Path]:
    """Write each part of an answer to a file of its own."""
    parts = _Parts(folder)
    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": parts.begin,
            "on_part_data": lambda data, start, end: parts.write(data[start:end]),
            "on_part_end": parts.end,
        },
    )
    received = 0
    try:
        for chunk in answer.iter_bytes():
            received += len(chunk)
            if received > max_bytes:
                raise UploadTooLarge("the study's series are larger than this service takes")
            on_bytes(len(chunk))
            parser.write(chunk)
    finally:
        whole = parts.close()
    if not whole or not parts.paths:
        raise PacsUnavailable("the archive's answer broke off")
    return parts.paths


class _Parts:
    """Files that the parts of an answer become."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: BinaryIO | None = None
        self.paths: list[Path] = []

    def begin(self) -> None:
        """Open the next file."""
        self.paths.append(self._folder / f"{len(self.paths) + 1:06d}.dcm")
        self._file = self.paths[-1].open("xb")

    def write(self, data: bytes) -> None:
        """Go on with it."""
        assert self._file is not None, "the parser tells of a part's beginning first"
        self._file.write(data)

    def end(self) -> None:
        """Close it."""
        assert self._file is not None, "the parser tells of a part's beginning first"
        self._file.close()
        self._file = None

    def close(self) -> bool:
        """Close what is open still; whether all parts had ended."""
        if self._file is None:
            return True
        self.end()
        return False


def _dataset(found: dict[str, Any]) -> pydicom.Dataset:
    """Read a header; pixels and other bulk that it only links to are left where they are."""
    given = {tag: value for tag, value in found.items() if "BulkDataURI" not in value}
    return pydicom.Dataset.from_json(given, bulk_data_uri_handler=lambda _: b"")


def _trust(archive: Archive) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=archive.ca_file)


def _login(archive: Archive) -> httpx.BasicAuth | None:
    if archive.username is None or archive.password_file is None:
        return None
    return httpx.BasicAuth(archive.username, _secret(archive.password_file))


def _token(archive: Archive) -> dict[str, str]:
    if archive.token_file is None:
        return {}
    return {"Authorization": f"Bearer {_secret(archive.token_file)}"}


def _secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise PacsUnavailable(
            f"the archive's password or token cannot be read: {error.strerror}"
        ) from error


def _require_success(answer: httpx.Response) -> None:
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise StudyNotFound("the archive no longer has this study, or this series of it")
    if not answer.is_success:
        raise PacsUnavailable(
            f"the archive answers {answer.status_code}: its operator or ours must look"
        )


def _require_stored(found: Any, uids: set[str]) -> None:
    """Insist that every object was taken."""
    stored, failed = (_references(found, tag) for tag in (_STORED, _FAILED))
    missing = (uids - stored) | (uids & failed)
    if missing:
        raise PacsUnavailable(f"the archive did not take {len(missing)} of {len(uids)} objects")


def _references(found: Any, tag: str) -> set[str]:
    entries = found.get(tag, {}).get("Value", []) if isinstance(found, dict) else []
    return {entry[_UID]["Value"][0] for entry in entries if _UID in entry}


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise PacsUnavailable("the archive's answer is no JSON") from error


@contextmanager
def _faults() -> Iterator[None]:
    """Turn the connection's and the parser's errors into ours."""
    try:
        yield
    except httpx.HTTPError as error:
        raise PacsUnavailable(
            f"the archive does not answer ({type(error).__name__}): try again later"
        ) from error
    except _MALFORMED as error:
        raise PacsUnavailable("the archive's answer is not as DICOMweb prescribes") from error
