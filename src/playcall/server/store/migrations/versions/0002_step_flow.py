"""Where a step leads that failed, and what each operation of a step is to bring about."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("run_steps") as steps:
        steps.add_column(sa.Column("goes_to", sa.String(length=64), nullable=True))
    with op.batch_alter_table("tasks") as tasks:
        tasks.add_column(sa.Column("effect", sa.String(length=64), nullable=True))
    # Until now it was the place; a tool that was interrupted by the change of versions keeps its key.
    op.execute("UPDATE tasks SET effect = CAST(place AS VARCHAR(64)) WHERE run_id IS NOT NULL")


def downgrade() -> None:
    with op.batch_alter_table("tasks") as tasks:
        tasks.drop_column("effect")
    with op.batch_alter_table("run_steps") as steps:
        steps.drop_column("goes_to")
