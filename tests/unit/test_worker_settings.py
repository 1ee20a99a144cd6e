"""The worker's settings: read once, and refused where they cannot work."""

from pathlib import Path

import pytest

from dlb_core.contracts import Device
from dlb_core.errors import BadOption
from dlb_core.jobs.celery_config import INFERENCE_QUEUE, SEGMENT_TASK
from worker.celery_app import make_worker_app
from worker.settings import WorkerSettings


def test_variables_are_read_by_name() -> None:
    """Those that are empty count as not set, as a compose file leaves them."""
    settings = WorkerSettings.from_environment(
        {"DLB_DATA": "/data", "DLB_DEVICE": "cuda", "DLB_THREADS": "2", "DLB_DATABASE_URL": ""}
    )

    assert (settings.data, settings.device, settings.threads) == (Path("/data"), Device.CUDA, 2)
    assert settings.store_url == "sqlite:////data/jobs.sqlite"


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({}, "DLB_DATA"),
        ({"DLB_DATA": "/data", "DLB_THREADS": "0"}, "DLB_THREADS"),
        ({"DLB_DATA": "/data", "DLB_DEVICE": "tpu"}, "DLB_DEVICE"),
        ({"DLB_DATA": "/data", "DLB_PIPELINE": "os.system('x')"}, "DLB_PIPELINE"),
        ({"DLB_DATA": "/data", "DLB_LEASE_S": "6"}, "twice heartbeat_s"),
    ],
)
def test_a_value_that_cannot_work_is_named(variables: dict[str, str], named: str) -> None:
    """The operator sees a variable's name, not a traceback."""
    with pytest.raises(BadOption, match=named):
        WorkerSettings.from_environment(variables)


def test_the_app_never_trusts_the_broker_with_the_truth() -> None:
    """Each of these settings lost or doubled jobs when it was otherwise (docs/reliability.md)."""
    app = make_worker_app(WorkerSettings(data=Path("/data"), time_limit_s=100))
    measured = {
        "task_ignore_result": True,
        "task_acks_late": False,
        "worker_disable_prefetch": True,
        "worker_prefetch_multiplier": 1,
        "worker_pool_start_method": "spawn",
        "worker_concurrency": 1,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "task_publish_retry": False,
        "task_default_queue": INFERENCE_QUEUE,
    }

    assert {name: app.conf[name] for name in measured} == measured
    limits = app.conf.task_annotations[SEGMENT_TASK]
    assert 100 < limits["soft_time_limit"] < limits["time_limit"]
    app.close()
