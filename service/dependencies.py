"""What routes are handed: the things that live as long as the app does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from dlb_core.errors import JobNotFound
from dlb_core.jobs.batches.store import BatchStore
from dlb_core.jobs.comparisons.dispatcher import ComparisonDispatcher
from dlb_core.jobs.comparisons.records import ComparisonRecord
from dlb_core.jobs.comparisons.store import ComparisonStore
from dlb_core.jobs.database import open_engine, upgrade
from dlb_core.jobs.deliveries.courier import DeliveryCourier
from dlb_core.jobs.deliveries.store import DeliveryStore
from dlb_core.jobs.dispatcher import Dispatcher
from dlb_core.jobs.endings import Endings
from dlb_core.jobs.layout import DataFolder
from dlb_core.jobs.queue import ComparisonQueue, JobQueue
from dlb_core.jobs.records import JobRecord
from dlb_core.jobs.rounds import Rounds
from dlb_core.jobs.store import JobStore
from dlb_core.jobs.store.sessions import NO_SUCH_JOB
from dlb_core.jobs.tallies import Tallies
from dlb_core.jobs.webhooks.courier import Courier
from dlb_core.jobs.webhooks.store import WebhookStore
from dlb_core.pacs.archives import Archive, read_archives
from service.bundles import Bundles
from service.callers import caller_of, job_named
from service.events import Feed
from service.gate import Gate
from service.intake import Intake
from service.pulls import Pulls
from service.settings import ServiceSettings
from service.space import UploadSpace
from service.weights_watch import WeightsWatch

TELL_EVERY_S = 1.0
COMPARE_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that the app opened at its start."""

    settings: ServiceSettings
    data: DataFolder
    store: JobStore
    batches: BatchStore
    comparisons: ComparisonStore
    comparison_queue: ComparisonQueue
    comparison_rounds: Rounds
    """Keeps comparisons moving."""
    webhooks: WebhookStore
    endings: Rounds
    """Tells of jobs' ends."""
    courier: Courier
    archives: Mapping[str, Archive]
    """The picture archives that may be reached."""
    deliveries: DeliveryStore
    delivery_courier: DeliveryCourier
    weights: WeightsWatch
    tallies: Tallies
    queue: JobQueue
    dispatcher: Dispatcher
    space: UploadSpace
    gate: Gate
    feed: Feed[JobRecord]
    comparison_feed: Feed[ComparisonRecord]

    @property
    def intake(self) -> Intake:
        """What takes new jobs in."""
        return Intake(self.settings, self.data, self.store, self.space)

    @property
    def pulls(self) -> Pulls:
        """What takes new jobs in from archives."""
        return Pulls(self.intake, self.archives, self.deliveries, self.gate.quotas)

    @property
    def bundles(self) -> Bundles:
        """The installed weights."""
        return Bundles(self.settings.weights)

    def close(self) -> None:
        """Stop what runs, close what is open."""
        self.dispatcher.stop()
        self.comparison_rounds.stop()
        self.endings.stop()
        self.courier.stop()
        self.delivery_courier.stop()
        self.queue.close()
        self.comparison_queue.close()
        self.store.close()


def open_services(settings: ServiceSettings) -> Services:
    """Make the folders, open the job store, start to dispatch.

    Raises
    ------
    StoreUnavailable
        The database does not answer.
    """
    data = settings.open_folder()
    data.create()
    engine = open_engine(settings.database_url or data.database_url)
    upgrade(engine)
    store = JobStore(engine)
    queue = JobQueue(settings.redis_url)
    dispatcher = Dispatcher(store, queue, data, retention=settings.retention)
    dispatcher.start()
    comparisons = ComparisonStore(engine)
    comparison_queue = ComparisonQueue(settings.redis_url)
    comparison_rounds = _comparing(settings, comparisons, comparison_queue, data)
    webhooks = WebhookStore(engine)
    courier = Courier(webhooks, settings.webhook_policy)
    endings = Rounds(Endings(engine).tell_all, name="endings", interval_s=TELL_EVERY_S)
    endings.start()
    courier.start()
    archives = read_archives(settings.pacs_file)
    deliveries = DeliveryStore(engine)
    delivery_courier = DeliveryCourier(deliveries, archives, data)
    if archives:
        delivery_courier.start()
    space = UploadSpace(data.staging, spare=settings.min_free_bytes)
    gate = Gate.open(settings, data, engine)
    return Services(
        settings=settings,
        data=data,
        store=store,
        batches=BatchStore(engine),
        comparisons=comparisons,
        comparison_queue=comparison_queue,
        comparison_rounds=comparison_rounds,
        webhooks=webhooks,
        endings=endings,
        courier=courier,
        archives=archives,
        deliveries=deliveries,
        delivery_courier=delivery_courier,
        weights=WeightsWatch(Bundles(settings.weights)),
        tallies=Tallies(engine),
        queue=queue,
        dispatcher=dispatcher,
        space=space,
        gate=gate,
        feed=Feed(store.get_many, max_listeners=settings.max_event_streams),
        comparison_feed=Feed(comparisons.get_many, max_listeners=settings.max_event_streams),
    )


def _comparing(
    settings: ServiceSettings, store: ComparisonStore, queue: ComparisonQueue, data: DataFolder
) -> Rounds:
    """Start to look after comparisons."""
    dispatcher = ComparisonDispatcher(store, queue, data, keep_days=settings.keep_results_days)
    rounds = Rounds(dispatcher.run_once, name="comparisons", interval_s=COMPARE_EVERY_S)
    rounds.start()
    return rounds


def services_of(request: Request) -> Services:
    """What the app's lifespan opened."""
    services = request.app.state.services
    assert isinstance(services, Services)
    return services


# Plain functions would be called in a thread each, for a look at an attribute.
async def _services(request: Request) -> Services:
    return services_of(request)


async def _intake(services: "ServicesDep") -> Intake:
    return services.intake


async def _pulls(services: "ServicesDep") -> Pulls:
    return services.pulls


async def _deliveries(services: "ServicesDep") -> DeliveryStore:
    return services.deliveries


async def _dispatcher(services: "ServicesDep") -> Dispatcher:
    return services.dispatcher


async def _data(services: "ServicesDep") -> DataFolder:
    return services.data


async def _store(services: "ServicesDep") -> JobStore:
    return services.store


async def _batches(services: "ServicesDep") -> BatchStore:
    return services.batches


async def _webhooks(services: "ServicesDep") -> WebhookStore:
    return services.webhooks


async def _feed(services: "ServicesDep") -> Feed[JobRecord]:
    return services.feed


async def _bundles(services: "ServicesDep") -> Bundles:
    return services.bundles


ServicesDep = Annotated[Services, Depends(_services)]
IntakeDep = Annotated[Intake, Depends(_intake)]
PullsDep = Annotated[Pulls, Depends(_pulls)]
DeliveriesDep = Annotated[DeliveryStore, Depends(_deliveries)]
DispatcherDep = Annotated[Dispatcher, Depends(_dispatcher)]
DataDep = Annotated[DataFolder, Depends(_data)]
StoreDep = Annotated[JobStore, Depends(_store)]
BatchesDep = Annotated[BatchStore, Depends(_batches)]
WebhooksDep = Annotated[WebhookStore, Depends(_webhooks)]
FeedDep = Annotated[Feed[JobRecord], Depends(_feed)]
BundlesDep = Annotated[Bundles, Depends(_bundles)]


def require_own_job(request: Request, store: StoreDep) -> None:
    """Let nobody know of another's job: it is answered as one that does not exist.

    For every route whose path names a job; the others pass, and so does what the route will
    refuse in its own words.

    Raises
    ------
    JobNotFound
        The job in the path is another's, or there is none.
    """
    job_id = job_named(request)
    if job_id is None:
        # Of what is public nobody asks who the caller is.
        return
    sees = caller_of(request).sees
    if sees is not None and store.owner_of(job_id) != sees:
        raise JobNotFound(NO_SUCH_JOB)
