"""Requests that no service should fall for, each with the answer that it must get.

Made here, not kept as files: what is wrong with each can be read.
"""

import base64
import gzip
import io
import tarfile
import zipfile
from dataclasses import dataclass, field
from uuid import UUID

import nibabel as nib
import numpy as np
from service_kit import BOUNDARY, form, form_headers, nifti, pair

MIB = 1024 * 1024
SOUND = nifti(compressed=False)
NOBODYS_JOB = f"/v1/jobs/{UUID(int=0)}"
JANE = "Jane_Doe"
"""A patient's name: no answer may repeat it."""


@dataclass(frozen=True)
class BadInput:
    """A request, and how it must be answered."""

    what: str
    status: int
    code: str
    method: str = "POST"
    path: str = "/v1/jobs"
    headers: dict[str, str] = field(default_factory=form_headers)
    body: bytes = b""


def _upload(what: str, status: int, code: str, body: bytes, **headers: str) -> BadInput:
    return BadInput(what, status, code, headers=form_headers() | headers, body=body)


def _malformed(what: str, body: bytes) -> BadInput:
    return _upload(what, 400, "malformed-upload", body)


def _typed(what: str, content_type: str | None) -> BadInput:
    headers = {} if content_type is None else {"Content-Type": content_type}
    return BadInput(what, 400, "malformed-upload", headers=headers, body=form(pair()))


GOOD = form(pair())
TYPES = [
    _typed("no content type", None),
    _typed("json", "application/json"),
    _typed("urlencoded", "application/x-www-form-urlencoded"),
    _typed("multipart/mixed", f"multipart/mixed; boundary={BOUNDARY}"),
    _typed("no boundary", "multipart/form-data"),
    _typed("empty boundary", 'multipart/form-data; boundary=""'),
    _typed("another boundary", "multipart/form-data; boundary=other"),
    _typed("endless boundary", "multipart/form-data; boundary=" + "x" * 5000),
]
FORMS = [
    _malformed("nothing", b""),
    _malformed("random bytes", bytes(range(256)) * 4),
    _malformed("no closing boundary", form(pair(), closed=False)),
    _malformed("cut off in a part", GOOD[: len(GOOD) // 2]),
    _malformed("no flair", form([("t1w", nifti())])),
    _malformed("no t1w", form([("flair", nifti())])),
    _malformed("t1w twice", form([*pair(), ("t1w", nifti())])),
    _malformed("options twice", form([*pair(), ("options", b"{}"), ("options", b"{}")])),
    _malformed("a part too many", form([*pair(), (JANE, b"x")])),
    _malformed("a part named as a path", form([*pair(), ("../../etc/passwd", b"x")])),
    _malformed("a part named with NUL", form([*pair(), ("t1w\0", b"x")])),
    _malformed("a part without a name", GOOD.replace(b'; name="t1w"', b"", 1)),
    _malformed("a part without headers", GOOD.replace(b"Content-Disposition", b"X-Nothing", 1)),
    _malformed("an attachment", GOOD.replace(b"form-data", b"attachment", 1)),
    _malformed("an empty image", form(pair(t1w=b""))),
    _malformed(
        "base64 in transfer",
        GOOD.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n", 1),
    ),
    _malformed(
        "an endless header", GOOD.replace(b"\r\n\r\n", b"\r\nX: " + b"x" * MIB + b"\r\n\r\n", 1)
    ),
    _malformed("endless headers", GOOD.replace(b"\r\n\r\n", b"\r\nX: y" * 50_000 + b"\r\n\r\n", 1)),
    _malformed("a header with NUL", GOOD.replace(b"Content-D", b"Content\0D", 1)),
    _malformed("ten thousand parts", form([(str(number), b"") for number in range(10_000)])),
    _upload("a form in a form", 422, "unreadable-image", form([("t1w", GOOD), ("flair", nifti())])),
]
SIZES = [
    _upload("an image over the cap", 413, "upload-too-large", form(pair(t1w=bytes(2 * MIB + 1)))),
    _upload("a body over the cap", 413, "upload-too-large", form(pair()) + b"x" * 5 * MIB),
    _upload("options over the cap", 413, "upload-too-large", form(pair(options=b" " * 70_000))),
]


def _options(what: str, text: str | bytes) -> BadInput:
    content = text if isinstance(text, bytes) else text.encode()
    return _upload(what, 422, "bad-option", form(pair(options=content)))


OPTIONS = [
    _options("no JSON", "minimum_lesion_mm3=3"),
    _options("half an object", "{"),
    _options("two objects", "{}{}"),
    _options("a trailing comma", '{"label": "a",}'),
    _options("a list", "[]"),
    _options("null", "null"),
    _options("a number", "1"),
    _options("deeply nested", "[" * 30_000),
    _options("deeply nested within a field", '{"label": ' + "[" * 10_000 + "]" * 10_000 + "}"),
    _options("not UTF-8", b'{"label": "\xff\xfe"}'),
    _options("UTF-16", '{"label": "a"}'.encode("utf-16")),
    _options("a lone surrogate", '{"label": "\\ud800"}'),
    _options("NaN", '{"minimum_lesion_mm3": NaN}'),
    _options("Infinity", '{"minimum_lesion_mm3": Infinity}'),
    _options("a number without end", '{"minimum_lesion_mm3": ' + "9" * 5000 + "}"),
    _options("an exponent without end", '{"minimum_lesion_mm3": 1e999999}'),
    _options("a negative size", '{"minimum_lesion_mm3": -1}'),
    _options("a text for a number", '{"minimum_lesion_mm3": "3"}'),
    _options("a truth for a number", '{"minimum_lesion_mm3": true}'),
    _options("a number for a truth", '{"ignore_quality_failures": 1}'),
    _options("an unknown state", '{"input_state": "raw; rm -rf /"}'),
    _options("an unknown option", f'{{"{JANE}": 1}}'),
    _options("a long label", '{"label": "' + "x" * 65 + '"}'),
    _options("a label with a line end", '{"label": "a\\nb"}'),
    _options("a label with NUL", '{"label": "a\\u0000"}'),
    _options("a label with markup", '{"label": "<script>alert(1)</script>"}'),
    _options("a label with a path", '{"label": "../../etc/passwd"}'),
    _options("a label with a formula", '{"label": "=cmd|\' /C calc\'!A1"}'),
    _options("a label with a turned direction", '{"label": "\\u202egnp.exe"}'),
]


def _image(what: str, code: str, content: bytes, *, part: str = "t1w") -> BadInput:
    return _upload(what, 422, code, form(pair(**{part: content})))


def _patched(offset: int, value: np.generic) -> bytes:
    """A sound image with one field of its header overwritten."""
    content = bytearray(SOUND)
    content[offset : offset + value.itemsize] = value.tobytes()
    return bytes(content)


def _dimensions(*numbers: int) -> bytes:
    """A sound image whose header states other dimensions."""
    stated = np.ones(8, np.int16)
    stated[: len(numbers)] = numbers
    content = bytearray(SOUND)
    content[40:56] = stated.tobytes()
    return bytes(content)


def _huge_nifti2() -> bytes:
    """A header that asks for more bytes than there are atoms to keep them."""
    header = nib.Nifti2Header()
    content = bytearray(header.binaryblock)
    content[16:80] = np.array([3, 2**62, 2**62, 2**62, 1, 1, 1, 1], np.int64).tobytes()
    return bytes(content) + bytes(1000)


def _zip(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def _tar(name: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return file.getvalue()


def _float(value: float) -> np.generic:
    return np.float32(value)


def _damaged_gzip(place: int) -> bytes:
    content = bytearray(nifti())
    content[place] ^= 0xFF
    return bytes(content)


UNREADABLE = "unreadable-image"
IMPLAUSIBLE = "implausible-image"
AMBIGUOUS = "geometry-ambiguous"

FILES = [
    _image("text", UNREADABLE, b"Patient: " + JANE.encode()),
    _image("one byte", UNREADABLE, b"x"),
    _image("zeros", UNREADABLE, bytes(100_000)),
    _image("a program", UNREADABLE, b"\x7fELF" + bytes(1000)),
    _image("a script", UNREADABLE, b"#!/bin/sh\nrm -rf /\n"),
    _image(
        "XML that reads files",
        UNREADABLE,
        b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    ),
    _image("a pickle", UNREADABLE, b"cos\nsystem\n(S'true'\ntR."),
    _image("a picture", UNREADABLE, b"\x89PNG\r\n\x1a\n" + bytes(1000)),
    _image("DICOM", UNREADABLE, bytes(128) + b"DICM" + bytes(1000)),
    _image("a zip that climbs out", UNREADABLE, _zip("../../../tmp/evil", b"x")),
    _image("a zip bomb", UNREADABLE, _zip("a", bytes(64 * MIB))),
    _image("a tar that climbs out", UNREADABLE, _tar("../../../tmp/evil")),
    _image("an empty gzip", UNREADABLE, gzip.compress(b"")),
    _image("gzip in gzip", UNREADABLE, gzip.compress(nifti())),
    _image("a gzip bomb", UNREADABLE, gzip.compress(SOUND + bytes(256 * MIB), compresslevel=1)),
    _image("a bomb of zeros", UNREADABLE, gzip.compress(bytes(256 * MIB), compresslevel=1)),
    _image("a cut-off gzip", UNREADABLE, nifti()[:-20]),
    _image("a gzip header alone", UNREADABLE, nifti()[:10]),
    _image("a gzip with a bad header", UNREADABLE, _damaged_gzip(2)),
    _image("a gzip with a bad checksum", UNREADABLE, _damaged_gzip(-8)),
    _image("a gzip with a bad length", UNREADABLE, _damaged_gzip(-1)),
    _image("a gzip with something after", UNREADABLE, nifti() + b"something"),
    _image("a second gzip member", UNREADABLE, nifti() + gzip.compress(b"x")),
    _image("only the flair is bad", UNREADABLE, nifti()[:-20], part="flair"),
]
HEADERS = [
    _image("a header alone", UNREADABLE, SOUND[:352]),
    _image("half a header", UNREADABLE, SOUND[:200]),
    _image("a byte too few", UNREADABLE, SOUND[:-1]),
    _image("a byte too many", UNREADABLE, SOUND + b"x"),
    _image("half of a pair", UNREADABLE, _patched(344, np.bytes_(b"ni1"))),
    _image("another header size", UNREADABLE, _patched(0, np.int32(1000))),
    _image("an unknown type", UNREADABLE, _patched(70, np.int16(1234))),
    _image("no type", IMPLAUSIBLE, _patched(70, np.int16(0))),
    _image("scaling to infinity", UNREADABLE, _patched(116, _float(np.inf))),
    _image("voxels nowhere", UNREADABLE, _patched(108, _float(np.nan))),
    _image("voxels at infinity", UNREADABLE, _patched(108, _float(np.inf))),
    _image("voxels before the file", UNREADABLE, _patched(108, _float(-1e30))),
    _image("voxels in the header", UNREADABLE, _patched(108, _float(100))),
    _image("voxels behind the end", UNREADABLE, _patched(108, _float(1e9))),
    _image("complex numbers", IMPLAUSIBLE, _patched(70, np.int16(32))),
    _image("colours", IMPLAUSIBLE, _patched(70, np.int16(128))),
    _image("no dimensions", IMPLAUSIBLE, _dimensions(0)),
    _image("one dimension", IMPLAUSIBLE, _dimensions(1, 24)),
    _image("two dimensions", IMPLAUSIBLE, _dimensions(2, 24, 28)),
    _image("eight dimensions", IMPLAUSIBLE, _dimensions(8, 24, 28, 28)),
    _image("minus one dimension", IMPLAUSIBLE, _dimensions(-1, 24, 28, 28)),
    _image("negative sizes", IMPLAUSIBLE, _dimensions(3, -24, -28, 28)),
    _image("empty sizes", IMPLAUSIBLE, _dimensions(3, 0, 0, 0)),
    _image("sizes without end", IMPLAUSIBLE, _dimensions(3, 32767, 32767, 32767)),
    _image("sizes that overflow", IMPLAUSIBLE, _huge_nifti2()),
    _image("sizes whose product is sound", IMPLAUSIBLE, _dimensions(3, 1, 1, 18816)),
    _image("a thousand volumes", IMPLAUSIBLE, _dimensions(4, 24, 28, 28, 1000)),
    _image("nowhere", AMBIGUOUS, _patched(252, np.int32(0))),
    _image("a qform that is no rotation", AMBIGUOUS, _patched(256, _float(9))),
    _image("a qform of NaN", AMBIGUOUS, _patched(268, _float(np.nan))),
    _image("an sform of NaN", AMBIGUOUS, _patched(280, _float(np.nan))),
    _image("an sform of infinities", AMBIGUOUS, _patched(284, _float(np.inf))),
    _image("an sform of zeros", AMBIGUOUS, _patched(280, _float(0))),
    _image("voxels of no size", AMBIGUOUS, _patched(80, _float(0))),
    _image("voxels as large as a house", AMBIGUOUS, _patched(80, _float(1e30))),
    _image("a shift out of this world", AMBIGUOUS, _patched(292, _float(1e30))),
    _image("four slices", IMPLAUSIBLE, nifti((24, 28, 4))),
    _image("a mouse", IMPLAUSIBLE, nifti(voxel_mm=0.5)),
    _image("an elephant", IMPLAUSIBLE, nifti(voxel_mm=11.0)),
]


def _asked(
    what: str, status: int, code: str, path: str, *, method: str = "GET", **headers: str
) -> BadInput:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return BadInput(what, status, code, method=method, path=path, headers=named)


def _cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


REQUESTS = [
    _asked("no path", 404, "no-such-path", f"/v1/{JANE}"),
    _asked("a path that climbs out", 404, "no-such-path", "/v1/../../etc/passwd"),
    _asked("a coded path that climbs out", 404, "no-such-path", "/v1/%2e%2e/%2e%2e/etc/passwd"),
    _asked("an endless path", 404, "no-such-path", "/v1/" + "x" * 20_000),
    _asked("a method that is none", 405, "method-not-allowed", "/v1/jobs", method="BREW"),
    _asked("TRACE", 405, "method-not-allowed", "/v1/jobs", method="TRACE"),
    _asked("no id", 422, "invalid-request", f"/v1/jobs/{JANE}"),
    _asked("SQL for an id", 422, "invalid-request", "/v1/jobs/1'%20OR%20'1'='1"),
    _asked("NUL in an id", 422, "invalid-request", f"{NOBODYS_JOB}%00"),
    _asked("nobody's job", 404, "not-found", NOBODYS_JOB),
    _asked("nobody's job, to be deleted", 404, "not-found", NOBODYS_JOB, method="DELETE"),
    _asked("a list of an unknown state", 422, "invalid-request", f"/v1/jobs?state={JANE}"),
    _asked("no jobs a page", 422, "invalid-request", "/v1/jobs?limit=0"),
    _asked("minus one job a page", 422, "invalid-request", "/v1/jobs?limit=-1"),
    _asked("all jobs on a page", 422, "invalid-request", "/v1/jobs?limit=1000000000"),
    _asked("text for a number", 422, "invalid-request", "/v1/jobs?limit=1e2"),
    _asked("digits of another script", 422, "invalid-request", "/v1/jobs?limit=%EF%BC%99x"),
    _asked("a random cursor", 422, "bad-option", "/v1/jobs?before=nonsense"),
    _asked("SQL for a cursor", 422, "invalid-request", "/v1/jobs?before='%20OR%201=1"),
    _asked("SQL in a cursor", 422, "bad-option", f"/v1/jobs?before={_cursor(chr(39) + ' OR 1')}"),
    _asked("half a cursor", 422, "bad-option", f"/v1/jobs?before={_cursor('2026-01-01 x')}"),
    _asked(
        "a cursor at the end of time",
        422,
        "bad-option",
        f"/v1/jobs?before={_cursor('9999-12-31T23:59:59-23:59 ' + str(UUID(int=0)))}",
    ),
    _asked("a file of nobody's job", 404, "not-found", f"{NOBODYS_JOB}/artefacts/report.html"),
    _asked(
        "a file elsewhere", 404, "no-such-path", f"{NOBODYS_JOB}/artefacts/../../../jobs.sqlite"
    ),
    _asked(
        "a file elsewhere, coded", 404, "no-such-path", f"{NOBODYS_JOB}/artefacts/..%2F..%2Fjobs"
    ),
    _asked("an endless name", 422, "invalid-request", f"{NOBODYS_JOB}/artefacts/" + "x" * 300),
    _asked("no model", 404, "not-found", f"/v1/models/{JANE}"),
    _asked("another site's page", 403, "forbidden", "/v1/jobs", Origin="https://evil.example"),
    _asked("another site's name", 403, "forbidden", "/v1/jobs", Host="evil.example"),
    _upload("an empty idempotency key", 422, "invalid-request", GOOD, **{"Idempotency-Key": ""}),
    _upload(
        "an endless idempotency key", 422, "invalid-request", GOOD, **{"Idempotency-Key": "x" * 300}
    ),
    _upload(
        "an idempotency key with spaces", 422, "invalid-request", GOOD, **{"Idempotency-Key": "a b"}
    ),
    _upload("an unknown priority", 422, "bad-option", form([*pair(), ("priority", JANE.encode())])),
]

CORPUS = [*TYPES, *FORMS, *SIZES, *OPTIONS, *FILES, *HEADERS, *REQUESTS]
