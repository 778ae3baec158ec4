"""What removing old rows looks for."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"], unique=False)
    op.create_index(op.f("ix_runs_ended_at"), "runs", ["ended_at"], unique=False)
    op.create_index(op.f("ix_tasks_ended_at"), "tasks", ["ended_at"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_tasks_ended_at"), table_name="tasks")
    op.drop_index(op.f("ix_runs_ended_at"), table_name="runs")
    op.drop_index(op.f("ix_idempotency_keys_created_at"), table_name="idempotency_keys")
