"""Settings out of variables, for service and worker alike."""

from typing import Self

import pytest
from pydantic import BaseModel, model_validator

from dlb_core.environment import read_settings, without_secrets
from dlb_core.errors import BadOption
from service.settings import ServiceSettings
from worker.settings import WorkerSettings


class Limits(BaseModel):
    """Settings with a rule that spans two fields."""

    least: int
    most: int = 10

    @model_validator(mode="after")
    def _least_is_below_most(self) -> Self:
        if self.least > self.most:
            raise ValueError("least must not exceed most")
        return self


def test_fields_come_from_variables_of_their_names() -> None:
    """Empty ones count as not set; those of other programs are nobody's business here."""
    environ = {"DLB_LEAST": "3", "DLB_MOST": "", "LEAST": "4", "PATH": "/bin"}

    assert read_settings(Limits, environ) == Limits(least=3, most=10)


def test_every_variable_that_cannot_be_used_is_named() -> None:
    """An operator mends all of them at once."""
    with pytest.raises(BadOption, match=r"DLB_LEAST: .*; DLB_MOST: "):
        read_settings(Limits, {"DLB_LEAST": "few", "DLB_MOST": "many"})


def test_a_rule_over_several_fields_is_told_in_its_own_words() -> None:
    """Such a fault belongs to no one variable: looking for its name must not fail."""
    with pytest.raises(BadOption, match="least must not exceed most"):
        read_settings(Limits, {"DLB_LEAST": "11"})


def test_processes_that_read_scans_are_given_no_credentials() -> None:
    """A hostile file that takes such a process over must not find the way to all others' scans."""
    environ = {
        "AWS_SECRET_ACCESS_KEY": "a",
        "DLB_DATABASE_URL": "postgresql+psycopg://dlb:b@db/dlb",
        "DLB_REDIS_URL": "redis://:c@redis/0",
        "OMP_NUM_THREADS": "1",
    }

    assert without_secrets(environ) == {"OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("kind", [ServiceSettings, WorkerSettings])
@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"])
@pytest.mark.parametrize("endpoint", ["minio:9000", "", "http://", "ftp://minio"])
def test_a_buckets_endpoint_that_is_no_url_is_refused_in_words(
    kind: type[ServiceSettings | WorkerSettings], name: str, endpoint: str
) -> None:
    """The library would end the process with its own stack at the first look."""
    without = {"DLB_DATA": "data", name: endpoint}
    bucket = {"DLB_BUCKET": "s3://bucket/prefix"}

    with pytest.raises(BadOption, match=f"^{name}: not as https://"):
        kind.from_environment(without | bucket)

    assert kind.from_environment(without).bucket is None, "it is another program's"
    assert kind.from_environment(without | bucket | {name: "http://minio:9000"}).bucket
