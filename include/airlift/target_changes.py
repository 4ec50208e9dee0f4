"""What a migration has made on the target: `created.json` and `published.json` of its staging."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from airlift.names import without_database


class _TargetCollection(BaseModel):
    """A collection on the target.

    Attributes:
        name: as the plan calls it: with its database, where that is named.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    database: str = ""

    @property
    def target_name(self) -> str:
        """The collection's name within its database."""
        return without_database(self.database, self.name)


class CreatedCollection(_TargetCollection):
    """A target collection as this migration made or found it.

    Attributes:
        rows_before: rows per partition that it held before (`if_exists: append`), "" the default.
        made: whether this migration made it; only then may it be dropped on a mismatch.
        earlier_jobs: as of `BegunCollection`.
    """

    collection_id: str
    made: bool
    rows_before: dict[str, int] = {}
    earlier_jobs: tuple[str, ...] = ()


class BegunCollection(_TargetCollection):
    """A collection that is about to be made; what is found there may be it, or a stranger's.

    Attributes:
        mark: what it is made with, and nobody else's is.
        earlier_jobs: import jobs that the target lists under the name although there is no such
            collection: they were for one that is gone.
    """

    mark: str
    earlier_jobs: tuple[str, ...] = ()


class Created(BaseModel):
    """`created.json`.

    Attributes:
        databases: those that this migration made, or was about to make.
        begun: collections that it was about to make, and does not know yet to be there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    databases: tuple[str, ...] = ()
    begun: tuple[BegunCollection, ...] = ()
    collections: tuple[CreatedCollection, ...] = ()

    def find(self, name: str) -> CreatedCollection | None:
        """The record of a collection, if there is one."""
        return next((one for one in self.collections if one.name == name), None)

    def begin(
        self, name: str, database: str, earlier_jobs: Iterable[str] = ()
    ) -> tuple[Created, BegunCollection]:
        """With a collection that is about to be made, and that; its mark is always the same."""
        known = {one.name: one for one in self.begun}
        mark = known[name].mark if name in known else uuid.uuid4().hex
        one = BegunCollection(
            name=name, database=database, mark=mark, earlier_jobs=tuple(earlier_jobs)
        )
        begun = tuple((known | {name: one}).values())
        return self.model_copy(update={"begun": begun}), one

    def add(self, *made: CreatedCollection) -> Created:
        """With collections that are there."""
        names = {one.name for one in made}
        return self.model_copy(
            update={
                "begun": tuple(one for one in self.begun if one.name not in names),
                "collections": (*self.collections, *made),
            }
        )


class PublishedAlias(BaseModel):
    """An alias that was let point to a collection of this migration.

    Attributes:
        collection: its name on the target, within the database.
        before: the collection that the alias pointed to; "" when it was made.
    """

    model_config = ConfigDict(frozen=True)

    alias: str
    database: str
    collection: str
    before: str = ""


class TargetNotes(BaseModel):
    """`target_notes.json`: settings and indexes of the target that are not as planned.

    Attributes:
        schemas, indexes: notes by collection, as the plan calls it.
    """

    model_config = ConfigDict(frozen=True)

    schemas: dict[str, tuple[str, ...]] = {}
    indexes: dict[str, tuple[str, ...]] = {}

    def of(self, collection: str) -> tuple[str, ...]:
        """The notes of a collection."""
        return (*self.schemas.get(collection, ()), *self.indexes.get(collection, ()))


class Published(BaseModel):
    """`published.json`: written before the aliases are moved.

    Attributes:
        collections: id of each collection that was verified and is given to its users, by its name
            in the plan.
    """

    model_config = ConfigDict(frozen=True)

    aliases: tuple[PublishedAlias, ...] = ()
    collections: dict[str, str] = {}

    def has(self, made: CreatedCollection) -> bool:
        """Whether it is the very collection, and not one that was made anew since."""
        return self.collections.get(made.name) == made.collection_id
