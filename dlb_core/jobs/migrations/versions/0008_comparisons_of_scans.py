"""Comparisons that wait for their jobs, are made once a key, and tell of their end."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; of comparisons that have ended before, nobody is told."""
    with op.batch_alter_table("comparisons") as comparisons:
        comparisons.add_column(sa.Column("idempotency", sa.String(64)))
        comparisons.add_column(sa.Column("content", sa.String(64)))
        comparisons.add_column(
            sa.Column("untold", sa.Boolean(), nullable=False, server_default=sa.false())
        )
        comparisons.create_unique_constraint("uq_comparisons_idempotency", ["idempotency"])
    with op.batch_alter_table("comparisons") as comparisons:
        comparisons.alter_column("untold", existing_type=sa.Boolean(), server_default=None)
    op.create_index("ix_comparisons_untold", "comparisons", ["untold"])
    with op.batch_alter_table("webhook_messages") as messages:
        messages.add_column(sa.Column("comparison_id", sa.Uuid()))


def downgrade() -> None:
    """Drop them."""
    with op.batch_alter_table("webhook_messages") as messages:
        messages.drop_column("comparison_id")
    op.drop_index("ix_comparisons_untold", "comparisons")
    with op.batch_alter_table("comparisons") as comparisons:
        comparisons.drop_constraint("uq_comparisons_idempotency", type_="unique")
        for column in ("untold", "content", "idempotency"):
            comparisons.drop_column(column)
