"""Owners, idempotency, priorities, retention, and a log of attempts."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NEW_COLUMNS = (
    "owner",
    "idempotency",
    "content",
    "priority",
    "turn",
    "not_before",
    "heartbeat",
    "keep_inputs",
    "expired",
)


def upgrade() -> None:
    """Widen jobs; those that are there already wait in the order they came."""
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("owner", sa.String(64)))
        jobs.add_column(sa.Column("idempotency", sa.String(64)))
        jobs.add_column(sa.Column("content", sa.String(64)))
        jobs.add_column(
            sa.Column("priority", sa.String(16), nullable=False, server_default="routine")
        )
        jobs.add_column(sa.Column("turn", sa.DateTime()))
        jobs.add_column(sa.Column("not_before", sa.DateTime()))
        jobs.add_column(sa.Column("heartbeat", sa.DateTime()))
        jobs.add_column(
            sa.Column("keep_inputs", sa.Boolean(), nullable=False, server_default=sa.true())
        )
        jobs.add_column(sa.Column("expired", sa.DateTime()))
    op.execute("UPDATE jobs SET turn = created")
    # What has ended has no images left.
    op.execute("UPDATE jobs SET keep_inputs = (finished IS NULL)")
    with op.batch_alter_table("jobs") as jobs:
        jobs.alter_column("turn", existing_type=sa.DateTime(), nullable=False)
        jobs.alter_column("priority", existing_type=sa.String(16), server_default=None)
        jobs.alter_column("keep_inputs", existing_type=sa.Boolean(), server_default=None)
        jobs.create_unique_constraint("uq_jobs_idempotency", ["idempotency"])
    op.create_index("ix_jobs_state_turn", "jobs", ["state", "turn"])
    op.create_index("ix_jobs_owner_created", "jobs", ["owner", "created"])
    op.create_table(
        "attempts",
        sa.Column(
            "job_id", sa.Uuid(), sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("fence", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("worker_id", sa.String(64), nullable=False),
        sa.Column("started", sa.DateTime(), nullable=False),
        sa.Column("ended", sa.DateTime()),
        sa.Column("outcome", sa.String(16)),
        sa.Column("error_code", sa.String(64)),
        sa.Column("error_message", sa.Text()),
        sa.Column("stage", sa.String(32), nullable=False),
        sa.Column("stage_s", sa.JSON(), nullable=False),
    )


def downgrade() -> None:
    """Narrow jobs again."""
    op.drop_table("attempts")
    op.drop_index("ix_jobs_owner_created", "jobs")
    op.drop_index("ix_jobs_state_turn", "jobs")
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_constraint("uq_jobs_idempotency", type_="unique")
        for name in NEW_COLUMNS:
            jobs.drop_column(name)
