"""The Celery settings that publisher and workers share, and the names they meet by.

Each setting was measured against kills and broker outages (docs/reliability.md): the broker
is never trusted with the truth, so messages are acknowledged early, results are ignored, and
a lost or doubled message costs nothing.
"""

from typing import Any

from celery import Celery
from kombu.entity import Queue

SEGMENT_TASK = "dlb.segment"
TRAIN_TASK = "dlb.train"
COMPARE_TASK = "dlb.compare"
INFERENCE_QUEUE = "inference"
TRAINING_QUEUE = "training"

CELERY_SETTINGS: dict[str, Any] = {
    "task_ignore_result": True,
    "task_acks_late": False,
    "worker_disable_prefetch": True,
    "worker_prefetch_multiplier": 1,
    # A forked child of a process that has used torch hangs.
    "worker_pool_start_method": "spawn",
    "worker_concurrency": 1,
    # A busy machine takes long to start a Python process; Celery kills one that takes 4 s, and
    # the next one, for ever.
    "worker_proc_alive_timeout": 120.0,
    # True loses jobs when the broker is killed.
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    # A broker that refuses to write, as on a full disk, is away for a while: the worker must not
    # end for it, and its case with it.
    "broker_channel_error_retry": True,
    "task_publish_retry": False,
    "task_queues": [Queue(name) for name in (INFERENCE_QUEUE, TRAINING_QUEUE)],  # type: ignore[no-untyped-call]  # kombu types its names only
    "task_default_queue": INFERENCE_QUEUE,
    "task_create_missing_queues": False,
    "task_serializer": "json",
    "accept_content": ["json"],
    "worker_hijack_root_logger": False,
    "worker_send_task_events": False,
    "enable_utc": True,
}


def make_app(broker_url: str, *, transport_options: dict[str, Any] | None = None) -> Celery:
    """Make a Celery app; it holds no tasks, and does not become the process's default.

    Parameters
    ----------
    broker_url : str
        `redis://host:port/0`, or `redis+socket:///path` for a unix socket.
    transport_options : dict, optional
        kombu's, for Redis.
    """
    app = Celery("deeplesionbrain", broker=broker_url, set_as_current=False)
    app.conf.update(CELERY_SETTINGS, broker_transport_options=transport_options or {})
    return app
