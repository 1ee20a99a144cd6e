"""Trainings, their tasks and their workers."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "trainings",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("active_key", sa.String(64), unique=True),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("error_code", sa.String(64)),
        sa.Column("error_message", sa.Text()),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("finished", sa.DateTime()),
    )
    op.create_table(
        "training_tasks",
        sa.Column("training_id", sa.Uuid(), sa.ForeignKey("trainings.id"), primary_key=True),
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("num_steps", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("loss", sa.Double()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("worker_id", sa.String(64), nullable=False),
        sa.Column("lease_until", sa.DateTime()),
        sa.Column("sent", sa.DateTime()),
        sa.Column("started", sa.DateTime()),
        sa.Column("finished", sa.DateTime()),
    )
    op.create_table(
        "training_workers",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("seen", sa.DateTime(), nullable=False),
        sa.Column("stopping", sa.Boolean(), nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("training_workers")
    op.drop_table("training_tasks")
    op.drop_table("trainings")
