"""Deliveries of results to picture archives."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column(
            "job_id", sa.Uuid(), sa.ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("archive", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("delivered", sa.DateTime()),
        sa.Column("next_try", sa.DateTime()),
        sa.Column("lease_until", sa.DateTime()),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("log", sa.JSON(), nullable=False),
        sa.UniqueConstraint("job_id", "archive", name="uq_deliveries_job_archive"),
    )
    op.create_index("ix_deliveries_state_next", "deliveries", ["state", "next_try"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("deliveries")
