"""Batches, webhooks, tallies of what happened to jobs, and their traces."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables; of jobs that have ended before, nobody is told."""
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(
            sa.Column("untold", sa.Boolean(), nullable=False, server_default=sa.false())
        )
        jobs.add_column(sa.Column("trace", sa.String(64)))
    with op.batch_alter_table("jobs") as jobs:
        jobs.alter_column("untold", existing_type=sa.Boolean(), server_default=None)
    op.create_index("ix_jobs_untold", "jobs", ["untold"])
    op.create_table(
        "tallies",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("label", sa.String(96), primary_key=True),
        sa.Column("value", sa.Double(), nullable=False),
    )
    _make_batches()
    _make_webhooks()


def _make_batches() -> None:
    op.create_table(
        "batches",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("owner", sa.String(64)),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("idempotency", sa.String(64)),
        sa.Column("content", sa.String(64), nullable=False),
        sa.UniqueConstraint("idempotency", name="uq_batches_idempotency"),
    )
    op.create_index("ix_batches_owner_created", "batches", ["owner", "created"])
    op.create_table(
        "batch_cases",
        sa.Column(
            "batch_id",
            sa.Uuid(),
            sa.ForeignKey("batches.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("position", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("session", sa.String(64), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
    )


def _make_webhooks() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("owner", sa.String(64)),
        sa.Column("everything", sa.Boolean(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("secrets", sa.JSON(), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("disabled", sa.String(64)),
    )
    op.create_table(
        "webhook_messages",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column(
            "webhook_id",
            sa.Uuid(),
            sa.ForeignKey("webhooks.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("job_id", sa.Uuid()),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("next_try", sa.DateTime()),
        sa.Column("lease_until", sa.DateTime()),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("log", sa.JSON(), nullable=False),
    )
    op.create_index("ix_webhook_messages_state_next", "webhook_messages", ["state", "next_try"])
    op.create_index(
        "ix_webhook_messages_webhook_created", "webhook_messages", ["webhook_id", "created"]
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("webhook_messages", "webhooks", "batch_cases", "batches", "tallies"):
        op.drop_table(table)
    op.drop_index("ix_jobs_untold", "jobs")
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_column("trace")
        jobs.drop_column("untold")
