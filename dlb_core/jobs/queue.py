"""Put hints into the broker: "look at this". Losing one, or sending it twice, is harmless."""

from typing import Any
from uuid import UUID

from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from dlb_core.errors import StoreUnavailable
from dlb_core.jobs.celery_config import (
    COMPARE_TASK,
    INFERENCE_QUEUE,
    SEGMENT_TASK,
    TRAIN_TASK,
    TRAINING_QUEUE,
    make_app,
)

TIMEOUT_S = 3.0

_PUBLISHER_OPTIONS: dict[str, Any] = {
    "socket_connect_timeout": TIMEOUT_S,
    "socket_timeout": TIMEOUT_S,
    # Fail at once while the broker is away: the dispatcher tries again by itself.
    "max_retries": 1,
    "interval_start": 0.0,
    "interval_step": 0.0,
    "interval_max": 0.0,
    "connect_retries_timeout": TIMEOUT_S,
}
UNAVAILABLE = "the message broker does not answer: check that Redis runs and can be reached"


class HintQueue:
    """The publisher's end of one queue. Every method raises `StoreUnavailable`.

    Parameters
    ----------
    broker_url : str
    task, queue : str
        Names by which publisher and worker meet.
    """

    def __init__(self, broker_url: str, *, task: str, queue: str) -> None:
        self._task, self._queue = task, queue
        self._app = make_app(broker_url, transport_options=_PUBLISHER_OPTIONS)
        self._redis = Redis.from_url(
            redis_url(broker_url), socket_connect_timeout=TIMEOUT_S, socket_timeout=TIMEOUT_S
        )

    def _publish(self, *arguments: str) -> None:
        """Send one hint."""
        try:
            self._app.send_task(self._task, args=list(arguments), queue=self._queue)
        except (OperationalError, RedisError, OSError) as error:
            raise StoreUnavailable(UNAVAILABLE) from error

    def length(self) -> int:
        """How many hints wait."""
        try:
            return int(self._redis.llen(self._queue))
        except RedisError as error:
            raise StoreUnavailable(UNAVAILABLE) from error

    def ping(self) -> None:
        """Ask the broker for a sign of life."""
        try:
            self._redis.ping()
        except RedisError as error:
            raise StoreUnavailable(UNAVAILABLE) from error

    def close(self) -> None:
        """Close every connection."""
        self._app.close()
        self._redis.close()


class JobQueue(HintQueue):
    """Hints at jobs."""

    def __init__(self, broker_url: str) -> None:
        super().__init__(broker_url, task=SEGMENT_TASK, queue=INFERENCE_QUEUE)

    def send(self, job_id: UUID) -> None:
        """Send one hint."""
        self._publish(str(job_id))


class ComparisonQueue(HintQueue):
    """Hints at comparisons, among those at jobs: the same workers take both. Send few at once."""

    def __init__(self, broker_url: str) -> None:
        super().__init__(broker_url, task=COMPARE_TASK, queue=INFERENCE_QUEUE)

    def send(self, comparison_id: UUID) -> None:
        """Send one hint."""
        self._publish(str(comparison_id))


class TrainingQueue(HintQueue):
    """Hints at the tasks of trainings."""

    def __init__(self, broker_url: str) -> None:
        super().__init__(broker_url, task=TRAIN_TASK, queue=TRAINING_QUEUE)

    def send(self, training_id: UUID, name: str) -> None:
        """Send one hint."""
        self._publish(str(training_id), name)


def redis_url(broker_url: str) -> str:
    """Turn kombu's name of a unix socket into redis-py's."""
    return broker_url.replace("redis+socket://", "unix://", 1)
