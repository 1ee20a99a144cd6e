"""A client of the HTTP service, for programs that wait and for those that do not.

with DlbClient("http://127.0.0.1:8000") as client:
    job = client.submit(t1w=Path("T1w.nii.gz"), flair=Path("FLAIR.nii.gz"))
    job = client.wait(job.id)
    client.download(job.id, Path("results"))

async with AsyncDlbClient("http://127.0.0.1:8000") as client:
    job = await client.submit(t1w=Path("T1w.nii.gz"), flair=Path("FLAIR.nii.gz"))

What is said to the service stands once, in `requests.py`; the two classes only carry it there.
"""

from dlb_core.client.asynchronous import AsyncDlbClient
from dlb_core.client.case import Case, case_of
from dlb_core.client.synchronous import DlbClient
from dlb_core.client.transfers import ByteCallback, ignore_bytes

__all__ = ["AsyncDlbClient", "ByteCallback", "Case", "DlbClient", "case_of", "ignore_bytes"]
