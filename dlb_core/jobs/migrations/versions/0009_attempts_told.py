"""Which attempts are among the tallies."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; attempts of jobs whose end was told are among them."""
    with op.batch_alter_table("attempts") as table:
        table.add_column(sa.Column("told", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("attempts") as table:
        table.alter_column("told", existing_type=sa.Boolean(), server_default=None)
    jobs = sa.table(
        "jobs", sa.column("id"), sa.column("finished"), sa.column("untold", sa.Boolean())
    )
    attempts = sa.table("attempts", sa.column("job_id"), sa.column("told", sa.Boolean()))
    told = sa.select(jobs.c.id).where(jobs.c.finished.is_not(None), jobs.c.untold.is_(False))
    op.execute(sa.update(attempts).where(attempts.c.job_id.in_(told)).values(told=True))


def downgrade() -> None:
    """Drop it."""
    with op.batch_alter_table("attempts") as table:
        table.drop_column("told")
