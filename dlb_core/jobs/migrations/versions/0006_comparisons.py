"""Comparisons of two jobs' results."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "comparisons",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("owner", sa.String(64)),
        sa.Column("first_job", sa.Uuid(), nullable=False),
        sa.Column("second_job", sa.Uuid(), nullable=False),
        sa.Column("label", sa.String(64), nullable=False),
        sa.Column("ignore_differences", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.DateTime()),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("updated", sa.DateTime(), nullable=False),
        sa.Column("finished", sa.DateTime()),
        sa.Column("sent", sa.DateTime()),
        sa.Column("error_code", sa.String(64)),
        sa.Column("error_message", sa.Text()),
        sa.Column("artefacts", sa.JSON(), nullable=False),
        sa.Column("totals", sa.JSON()),
    )
    op.create_index("ix_comparisons_state_created", "comparisons", ["state", "created"])
    op.create_index("ix_comparisons_owner_created", "comparisons", ["owner", "created"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("comparisons")
