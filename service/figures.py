"""What /metrics says of jobs: read from the database at each scrape, so that any number of API
processes say the same, and a restart forgets nothing.
"""

import logging
import shutil
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from dlb_core.documents import Health
from dlb_core.errors import DlbError
from dlb_core.jobs import tallies
from service.dependencies import Services
from service.routes.health import check_all

logger = logging.getLogger(__name__)


class Figures(Collector):
    """Collects them. What cannot be read is left out, so that the rest can be seen."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry need not ask the database for names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Read everything once."""
        for read in READ:
            yield from _readable(read, self._services)


def _readable(read: Callable[[Services], Iterable[Metric]], services: Services) -> list[Metric]:
    try:
        return list(read(services))
    except DlbError as error:
        logger.warning("figures_missing", extra={"cause": str(error), "of": read.__name__})
        return []


def _jobs(services: Services) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("dlb_jobs", "Jobs that are listed, by state.", labels=["state"])
    for state, count in services.store.counts_by_state().items():
        jobs.add_metric([state.value], count)
    yield jobs


def _queue(services: Services) -> Iterator[Metric]:
    waiting = services.tallies.waiting()
    yield GaugeMetricFamily(
        "dlb_queue_depth", "Jobs that wait for nothing but a worker.", value=waiting.jobs
    )
    yield GaugeMetricFamily(
        "dlb_queue_oldest_seconds", "How long the first of them has waited.", value=waiting.oldest_s
    )
    alive = services.store.workers_alive(services.settings.worker_seen_s)
    yield GaugeMetricFamily("dlb_workers_alive", "Workers heard of lately.", value=alive)


def _broker(services: Services) -> Iterator[Metric]:
    hints = services.queue.length()
    yield GaugeMetricFamily("dlb_broker_hints", "Messages in the broker's queue.", value=hints)


def _tallied(services: Services) -> Iterator[Metric]:
    found = services.tallies.read()
    ended = CounterMetricFamily(
        "dlb_jobs_ended", "Jobs that ended, by state and error code.", labels=["state", "code"]
    )
    for label, count in found.get(tallies.ENDED, {}).items():
        ended.add_metric(label.split(" ", 1), count)
    attempts = CounterMetricFamily(
        "dlb_attempts", "Attempts of jobs that ended, by outcome.", labels=["outcome"]
    )
    for label, count in found.get(tallies.ATTEMPTS, {}).items():
        attempts.add_metric([label], count)
    yield from (ended, attempts, _stages(found))


def _stages(found: dict[str, dict[str, float]]) -> Metric:
    stages = HistogramMetricFamily(
        "dlb_stage_seconds",
        "Seconds that successful jobs spent in each stage; also `waiting` for a worker, and "
        "`whole_job` from acceptance to end.",
        labels=["stage"],
    )
    within = found.get(tallies.STAGE_WITHIN, {})
    for stage, count in found.get(tallies.STAGE_COUNT, {}).items():
        buckets = [(str(float(s)), within.get(f"{stage} {s}", 0.0)) for s in tallies.BOUNDS_S]
        total = found[tallies.STAGE_SUM].get(stage, 0.0)
        stages.add_metric([stage], buckets=[*buckets, ("+Inf", count)], sum_value=total)
    return stages


def _webhooks(services: Services) -> Iterator[Metric]:
    messages = GaugeMetricFamily(
        "dlb_webhook_messages", "Webhooks' messages in the log, by state.", labels=["state"]
    )
    for state, count in services.webhooks.counts().items():
        messages.add_metric([state.value], count)
    yield messages


def _deliveries(services: Services) -> Iterator[Metric]:
    deliveries = GaugeMetricFamily(
        "dlb_deliveries", "Deliveries to picture archives, by state.", labels=["state"]
    )
    for state, count in services.deliveries.counts().items():
        deliveries.add_metric([state.value], count)
    yield deliveries


def _weights(services: Services) -> Iterator[Metric]:
    model = InfoMetricFamily("dlb_model", "The weights that jobs use.")
    for summary in services.bundles.summaries():
        label = {"name": summary.name, "version": summary.version, "sha256": summary.sha256}
        model.add_metric([], label)
    yield model


def _room(services: Services) -> Iterator[Metric]:
    free = shutil.disk_usage(services.data.root).free
    yield GaugeMetricFamily("dlb_disk_free_bytes", "Free on the data folder's disk.", value=free)


def _checks(services: Services) -> Iterator[Metric]:
    checks = GaugeMetricFamily(
        "dlb_check_ok", "Whether a check of /health/ready passes: 1 or 0.", labels=["check"]
    )
    for check in check_all(services):
        checks.add_metric([check.name], float(check.status is Health.OK))
    yield checks


READ = (_jobs, _queue, _broker, _tallied, _webhooks, _deliveries, _weights, _room, _checks)
"""What is read, one after another."""
