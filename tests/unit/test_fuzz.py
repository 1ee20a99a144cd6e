"""The parsers that see a caller's bytes first, under bytes that nobody would think of.

More examples: HYPOTHESIS_EXAMPLES=20000 python -m pytest tests/unit/test_fuzz.py
"""

import base64
import gzip
import json
import os
import tracemalloc
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from service_kit import BOUNDARY, nifti

from dlb_core.errors import BadOption, DlbError
from dlb_core.validation import ImageFacts, check_header
from service.intake import read_options
from service.oidc import KeySet, Provider, TokenVerifier
from service.uploads import FormLimits, FormReceiver, StagedForm, boundary_of

FUZZ = settings(
    max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
SOUND = nifti((10, 24, 28), compressed=False)
MOST_MEMORY = 8 << 20
"""Bytes that checking any header may need; the images themselves are smaller still."""
LIMITS = FormLimits(
    choices=(frozenset({"t1w", "flair"}),),
    texts=frozenset({"options"}),
    max_file_bytes=1000,
    max_text_bytes=100,
)


def check(content: bytes) -> str:
    """What is said of an image: that it is sound, or why not; anything else is a fault."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "upload"
        path.write_bytes(content)
        try:
            facts = check_header(path, role="T1w")
        except DlbError as error:
            return str(error).replace(folder, "A PATH OF OURS")
    assert isinstance(facts, ImageFacts)
    assert np.isfinite(facts.affine).all()
    assert min(facts.shape) > 0
    return "sound"


def field_strategy(dtype: np.dtype) -> st.SearchStrategy[object]:
    """Values of a header field: ordinary, extreme and impossible ones."""
    if dtype.kind == "f":
        return st.floats(width=32) | st.sampled_from([0.0, -1.0, np.inf, -np.inf, np.nan, 1e30])
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return st.integers(int(info.min), int(info.max)) | st.sampled_from([0, 1, 2, 4, 16])
    return st.binary(max_size=dtype.itemsize)


def headers(kind: type) -> st.SearchStrategy[bytes]:
    """Sound headers with a few fields overwritten by anything."""
    template = kind()
    names = [name for name in template.structarr.dtype.names if name not in ("magic", "sizeof_hdr")]

    @st.composite
    def build(draw: st.DrawFn) -> bytes:
        header = kind.from_header(nib.Nifti1Image.from_bytes(SOUND).header)
        for name in draw(st.lists(st.sampled_from(names), max_size=4, unique=True)):
            entry = header.structarr[name]
            place = np.asarray(entry).reshape(-1)
            values = [draw(field_strategy(place.dtype)) for _ in range(place.size)]
            header.structarr[name] = np.array(values, place.dtype).reshape(np.shape(entry))
        return bytes(header.binaryblock)

    return build()


@FUZZ
@given(header=headers(nib.Nifti1Header) | headers(nib.Nifti2Header), zipped=st.booleans())
def test_any_header_is_read_or_refused_in_little_memory(header: bytes, zipped: bool) -> None:
    """No field may end in a traceback, nor make us reserve what it asks for."""
    content = header + bytes(4) + SOUND[352:]
    sent = gzip.compress(content, compresslevel=1, mtime=0) if zipped else content
    tracemalloc.start()
    try:
        said = check(sent)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < MOST_MEMORY
    assert "OURS" not in said


@FUZZ
@given(
    places=st.lists(st.tuples(st.integers(0, 399), st.integers(0, 255)), max_size=8),
    end=st.integers(0, len(SOUND)),
)
def test_bytes_changed_and_cut_anywhere_are_read_or_refused(
    places: list[tuple[int, int]], end: int
) -> None:
    """Damage does not keep to fields."""
    content = bytearray(SOUND)
    for place, value in places:
        content[place] = value

    check(bytes(content))
    check(bytes(content[:end]))


@FUZZ
@given(place=st.integers(0, 200), value=st.integers(1, 255), tail=st.binary(max_size=50))
def test_a_gzip_damaged_anywhere_is_read_or_refused(place: int, value: int, tail: bytes) -> None:
    """The decompressor raises errors of many kinds."""
    content = bytearray(gzip.compress(SOUND, compresslevel=1, mtime=0))
    content[place % len(content)] ^= value

    check(bytes(content) + tail)


def receive(body: bytes, chunk: int) -> str:
    """What becomes of a form that comes in chunks."""
    with TemporaryDirectory() as folder:
        try:
            with closing(FormReceiver(Path(folder), BOUNDARY.encode(), LIMITS)) as receiver:
                for start in range(0, len(body), chunk):
                    receiver.feed(body[start : start + chunk])
                form = receiver.finish()
        except DlbError as error:
            return error.code
        finally:
            inside = {path.name for path in Path(folder).rglob("*")}
            assert inside <= LIMITS.files, "only names of ours reach the disk"
    assert isinstance(form, StagedForm)
    digests = sorted(file.sha256 for file in form.files.values())
    return f"{digests} {sorted(form.texts.items())}"


FRAGMENTS = st.sampled_from(
    [
        b"--" + BOUNDARY.encode(),
        b"--",
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"Content-Disposition: form-data; ",
        b'name="t1w"',
        b'name="flair"',
        b'name="options"',
        b"name*=utf-8''t1w",
        b'; filename="../../x"',
        b"Content-Type: text/plain",
        b"Content-Transfer-Encoding: base64",
        b": ",
        b"\0",
        b"x" * 200,
    ]
) | st.binary(max_size=20)
HEADER_TEXT = st.text(st.characters(max_codepoint=255), max_size=80)
"""What a header's value can hold, as it is read from the line."""
PART = st.builds(
    lambda name, content: (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode()
        + content
        + b"\r\n"
    ),
    st.sampled_from(["t1w", "flair", "options", "more"]),
    st.binary(max_size=60),
)


@FUZZ
@given(
    fragments=st.lists(PART | FRAGMENTS, max_size=12),
    closed=st.booleans(),
    chunk=st.integers(1, 64),
)
def test_any_form_is_received_or_refused_however_it_is_cut(
    fragments: list[bytes], closed: bool, chunk: int
) -> None:
    """What the network does to a form must not decide what is made of it."""
    body = b"".join(fragments) + (f"--{BOUNDARY}--\r\n".encode() if closed else b"")

    assert receive(body, chunk) == receive(body, len(body) or 1)


@FUZZ
@given(start=st.sampled_from(["", "multipart/form-data; boundary="]), end=HEADER_TEXT)
def test_any_content_type_is_read_or_refused(start: str, end: str) -> None:
    """The first header that a caller's parser trips over."""
    try:
        boundary = boundary_of(start + end)
        with TemporaryDirectory() as folder:
            FormReceiver(Path(folder), boundary, LIMITS).close()
    except DlbError:
        return
    assert boundary


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["label", "input_state", "minimum_lesion_mm3"]) | st.text(max_size=5),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@FUZZ
@given(text=st.binary(max_size=60) | JSON.map(lambda value: _dumps(value)))
def test_any_options_are_read_or_refused(text: bytes) -> None:
    """And the fields at fault are named by strings."""
    fields: dict[str, str] = {}
    try:
        read_options(text)
    except BadOption as error:
        fields = error.fields
    assert all(isinstance(name, str) for name in fields)


def _dumps(value: object) -> bytes:
    return json.dumps(value).encode()


@FUZZ
@given(
    token=st.text(max_size=80)
    | st.lists(st.binary(max_size=30), min_size=3, max_size=3).map(
        lambda parts: ".".join(_base64url(part) for part in parts)
    )
)
def test_any_token_is_refused_and_nothing_else_happens(token: str) -> None:
    """Whoever sends one is not known yet."""
    keys = KeySet(lambda: '{"keys": [{"kty": "oct", "k": "AAAA", "kid": "a"}]}')
    verifier = TokenVerifier(Provider("i", "a", "unused", "roles"), keys)
    try:
        verifier.verify(token)
    except DlbError:
        return
    raise AssertionError("a token that nobody signed was taken")


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
