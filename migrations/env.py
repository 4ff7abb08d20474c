"""Runs the revisions on the connection that `domain/schema.py` hands over, and writes new ones in the house's form."""

from typing import Any, Literal

from alembic import context
from alembic.operations.ops import DropIndexOp, DropTableOp

from model import Base, UtcTime


def render(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Times are written as the TIME of script.py.mako: a revision must not change when model.py does."""
    return "TIME" if kind == "type" and isinstance(item, UtcTime) else False


def tidy(_context: Any, _revision: Any, directives: Any) -> None:
    """A table that is dropped takes its indexes along; MariaDB refuses to drop those that a foreign key needs."""
    for script in directives:
        operations = script.downgrade_ops.ops
        dropped = {one.table_name for one in operations if isinstance(one, DropTableOp)}
        for group in operations:
            if getattr(group, "table_name", None) in dropped and hasattr(group, "ops"):
                group.ops = [one for one in group.ops if not isinstance(one, DropIndexOp)]
        script.downgrade_ops.ops = [one for one in operations if not hasattr(one, "ops") or one.ops]


def keep_step(ctx: Any, step: Any, heads: Any, run_args: Any) -> None:  # noqa: ARG001 - Alembic names them in its call.
    """MariaDB commits with every change of a table; so must the note of the step that was reached."""
    if ctx.dialect.name in ("mysql", "mariadb"):
        ctx.connection.commit()


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=bool(context.script.get_heads()),  # The first revision has nothing to alter.
    compare_type=True,
    compare_server_default=True,
    render_item=render,
    process_revision_directives=tidy,
    on_version_apply=keep_step,
)
with context.begin_transaction():
    context.run_migrations()
