"""Alembic's entry: run the migrations on the connection that `upgrade` hands over.

A new revision: write `versions/NNNN_subject.py` by hand, and change `models.py` with it.
"""

from alembic import context

from dlb_core.jobs import key_tables, tally_tables  # noqa: F401  # tells Base of its tables
from dlb_core.jobs.batches import tables as batch_tables  # noqa: F401  # likewise
from dlb_core.jobs.comparisons import tables as comparison_tables  # noqa: F401  # likewise
from dlb_core.jobs.deliveries import tables as delivery_tables  # noqa: F401  # likewise
from dlb_core.jobs.models import Base
from dlb_core.jobs.training import tables  # noqa: F401  # likewise
from dlb_core.jobs.webhooks import tables as webhook_tables  # noqa: F401  # likewise

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # SQLite can roll DDL back, as long as nobody commits in between.
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
