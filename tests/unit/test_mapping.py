"""From the source's collections and the user's mapping to the target's collections."""

from __future__ import annotations

from typing import Any

import pytest

from airlift.datatypes import DataType
from airlift.errors import Refused
from airlift.mapping import MappedCollection, map_collections
from airlift.params import MigrationParams
from airlift.schema import CollectionSchema, Field, SourceCollection

KEY = Field(name="id", type=DataType.INT64, primary_key=True)
VECTOR = Field(name="vector", type=DataType.FLOAT_VECTOR, dim=4, metric_type="L2")
SMALL = Field(name="year", type=DataType.INT32)
TITLE = Field(name="title", type=DataType.VARCHAR, max_length=100)


def collection(name: str = "songs", **changes: Any) -> SourceCollection:
    fields = changes.pop("fields", (KEY, VECTOR, SMALL, TITLE))
    schema = CollectionSchema(name=name, fields=fields, **changes)
    return SourceCollection(collection_schema=schema, rows=10)


def mapped(
    *collections: SourceCollection, mapping: dict[str, Any] | None = None, **params: Any
) -> list[MappedCollection]:
    given = MigrationParams(staging_url="/s", mapping=mapping or {}, **params)
    return map_collections(list(collections) or [collection()], given, "m1")


def map_songs(**mapping: Any) -> MappedCollection:
    return mapped(mapping={"songs": mapping})[0]


def reasons(*collections: SourceCollection, **params: Any) -> list[str]:
    with pytest.raises(Refused) as refused:
        mapped(*collections, **params)
    return refused.value.reasons


def test_without_a_mapping_all_comes_along_and_the_dynamic_field_is_on():
    source = collection(partitions=("rock",), shards=3, consistency_level="Strong")
    one = mapped(source)[0]
    dynamic = source.collection_schema.model_copy(update={"dynamic_field": True})
    assert one.target == dynamic
    off = mapped(source, mapping={"songs": {"dynamic_field": False}})[0]
    assert off.target == source.collection_schema.model_copy(update={"dynamic_field": False})
    assert one.fields == {name: name for name in ("id", "vector", "year", "title")}
    assert one.partitions == {"": "", "rock": "rock"}
    assert (one.source, one.alias, one.notes) == ("songs", "", ())
    assert MappedCollection.model_validate_json(one.model_dump_json()) == one


def test_fields_are_renamed_retyped_and_described():
    one = map_songs(
        target="music",
        fields=[
            {"source": "id", "target": "song_id", "type": "VARCHAR", "max_length": 30},
            {"source": "vector", "target": "embedding", "description": "by model 7"},
            {"source": "year", "type": "INT64"},
        ],
        shards=2,
        consistency_level="Session",
        dynamic_field=True,
        metric_type="IP",
    )
    target = one.target
    assert target.name == "music" and (target.shards, target.consistency_level) == (2, "Session")
    assert target.dynamic_field
    key, vector, year, title = target.fields
    assert (key.name, key.type, key.max_length, key.primary_key) == (
        "song_id",
        DataType.VARCHAR,
        30,
        True,
    )
    assert (vector.name, vector.description, vector.metric_type, vector.dim) == (
        "embedding",
        "by model 7",
        "IP",
        4,
    )
    assert year.type is DataType.INT64 and title == TITLE
    assert one.fields == {
        "id": "song_id",
        "vector": "embedding",
        "year": "year",
        "title": "title",
    }


def test_any_int64_fits_the_text_that_a_key_becomes():
    one = map_songs(fields=[{"source": "id", "type": "VARCHAR"}])
    assert one.target.primary_key.max_length >= len(str(-(2**63)))


@pytest.mark.parametrize(
    ("choice", "left"),
    [
        ({"include": ["id", "vector"]}, ["id", "vector"]),
        ({"exclude": ["year", "title"]}, ["id", "vector"]),
        ({"exclude": []}, ["id", "vector", "year", "title"]),
    ],
)
def test_fields_are_chosen(choice, left):
    one = map_songs(**choice)
    assert [field.name for field in one.target.fields] == left == list(one.fields)


def test_auto_id_leaves_the_ids_out():
    one = map_songs(auto_id=True)
    assert one.target.primary_key.auto_id
    assert list(one.fields) == ["vector", "year", "title"]
    assert [field.name for field in one.target.written] == ["vector", "year", "title"]


def test_partitions_are_chosen_and_the_others_are_noted():
    source = collection(partitions=("rock", "jazz"))
    one = mapped(source, mapping={"songs": {"partitions": ["jazz", "_default"]}})[0]
    assert one.partitions == {"jazz": "jazz", "": ""}
    assert one.target.partitions == ("jazz",)
    assert any("['rock'] are left out" in note for note in one.notes)
    only = mapped(source, mapping={"songs": {"partitions": ["rock"]}})[0]
    assert any("['_default', 'jazz'] are left out" in note for note in only.notes)


def test_names_that_milvus_refuses_are_changed_and_noted():
    source = collection(
        "my-songs",
        fields=(KEY, VECTOR.model_copy(update={"name": "emb.1"})),
        partitions=("new wave", "2024"),
    )
    one = mapped(source)[0]
    assert one.target.name == "my_songs"
    assert one.fields == {"id": "id", "emb.1": "emb_1"}
    assert one.partitions == {"": "", "new wave": "new_wave", "2024": "_2024"}
    assert len(one.notes) == 4 and all("Milvus refuses" in note for note in one.notes)


def test_cutover_writes_beside_and_keeps_the_alias():
    one = mapped(cutover_alias=True)[0]
    assert (one.target.name, one.alias) == ("songs__m1", "songs")
    long = "x" * 252
    assert "too long" in reasons(collection(long), cutover_alias=True)[0]


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"nope": {}}, "names the collection 'nope'"),
        ({"songs": {"target": "9 lives"}}, "the target name '9 lives' is refused by Milvus"),
        ({"songs": {"fields": [{"source": "nope"}]}}, "names the field 'nope'"),
        ({"songs": {"exclude": ["nope"]}}, "names the field 'nope'"),
        ({"songs": {"exclude": ["id"]}}, "the primary key 'id' can't be left out"),
        ({"songs": {"include": ["vector"]}}, "the primary key 'id' can't be left out"),
        ({"songs": {"exclude": ["vector"]}}, "no vector field is left"),
        ({"songs": {"fields": [{"source": "id", "type": "INT8"}]}}, "must be INT64 or VARCHAR"),
        (
            {"songs": {"fields": [{"source": "title", "type": "DOUBLE"}]}},
            "VARCHAR can't become DOUBLE; it can become BOOL, INT16, INT32, INT64, INT8",
        ),
        ({"songs": {"fields": [{"source": "id", "type": "DOUBLE"}]}}, "must be INT64 or VARCHAR"),
        (
            {"songs": {"fields": [{"source": "vector", "type": "BINARY_VECTOR"}]}},
            "FLOAT_VECTOR can't become BINARY_VECTOR",
        ),
        ({"songs": {"fields": [{"source": "year", "max_length": 5}]}}, "max_length is for VARCHAR"),
        ({"songs": {"metric_type": "HAMMING"}}, "use one of L2, IP, COSINE"),
        ({"songs": {"partitions": ["nope"]}}, "names the partition 'nope'"),
        (
            {"songs": {"fields": [{"source": "year", "target": "title"}]}},
            "['year', 'title'] would all become 'title'",
        ),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused(mapping, said):
    found = reasons(mapping=mapping)
    assert any(said in reason for reason in found), found


def test_collections_that_would_share_a_target_are_refused():
    (found,) = reasons(collection("a-b"), collection("a.b"))
    assert "['a-b', 'a.b'] would all become 'a_b'" in found
    (found,) = reasons(collection("a"), collection("b"), mapping={"a": {"target": "b"}})
    assert "['a', 'b'] would all become 'b'" in found


def test_partitions_that_would_share_a_name_are_refused():
    (found,) = reasons(collection(partitions=("a b", "a-b")))
    assert "the partitions ['a b', 'a-b'] would all become 'a_b'" in found


def test_every_reason_is_told_at_once():
    mapping = {
        "songs": {"target": "1", "exclude": ["vector", "x"], "partitions": ["p"]},
        "books": {"metric_type": "JACCARD"},
        "nope": {},
    }
    found = reasons(collection(), collection("books"), mapping=mapping)
    assert len(found) == 6


# --- fields of other origins, and what a field may be -------------------------------------------

MAYBE = Field(name="mood", type=DataType.VARCHAR, max_length=5, nullable=True)
META = Field(name="$meta", type=DataType.JSON)


def full(**changes: Any) -> SourceCollection:
    return collection(
        fields=(KEY, VECTOR, SMALL, TITLE, MAYBE, META), dynamic_field=True, **changes
    )


def map_full(*fields: dict[str, Any], **mapping: Any) -> MappedCollection:
    return mapped(full(), mapping={"songs": {"fields": fields, **mapping}})[0]


def test_a_default_makes_a_field_that_always_has_a_value():
    one = map_full({"source": "mood", "default": "calm"}, {"source": "year", "default": 0})
    year, mood = one.target.fields[2], one.target.fields[4]
    assert (mood.default, mood.nullable, year.default) == ("calm", False, 0)
    assert one.defaults == {"mood": "calm", "year": 0}


def test_a_partition_key_takes_the_rows_of_every_partition():
    source = full(partitions=("rock",))
    mapping = {"songs": {"fields": [{"source": "mood", "partition_key": True}]}}
    (said,) = reasons(source, mapping=mapping)
    assert "the rows of ['rock'] lose the names of theirs; allow it with allow_lossy" in said
    one = mapped(source, mapping=mapping, allow_lossy=True)[0]
    assert one.partitions == {"": "", "rock": ""} and one.target.partitions == ()
    assert one.has_partition_key and not one.target.fields[4].nullable
    assert any("['rock'] go where the partition key 'mood' puts them" in note for note in one.notes)
    mapping["songs"]["partitions"] = ["_default"]
    assert mapped(source, mapping=mapping)[0].partitions == {"": ""}


def test_a_sources_partition_key_comes_along_or_not():
    keyed = TITLE.model_copy(update={"partition_key": True})
    source = collection(fields=(KEY, VECTOR, SMALL, keyed))
    assert mapped(source)[0].has_partition_key
    off = {"songs": {"fields": [{"source": "title", "partition_key": False}]}}
    assert not mapped(source, mapping=off)[0].has_partition_key


def test_constants_and_keys_become_fields_and_fields_become_keys():
    one = map_full(
        {"source": "$meta.colour", "target": "hue", "type": "VARCHAR", "nullable": True},
        {"source": "$meta.n-1", "type": "INT8"},
        {"source": "year", "target": "$meta.released"},
        {"target": "origin", "type": "VARCHAR", "value": "old"},
    )
    names = ["id", "vector", "title", "mood", "hue", "n_1", "origin", "$meta"]
    assert [field.name for field in one.target.fields] == names
    assert one.fields == {
        **{name: name for name in ("id", "vector", "title", "mood", "$meta")},
        "$meta.colour": "hue",
        "$meta.n-1": "n_1",
    }
    assert one.into_dynamic == {"year": SMALL.model_copy(update={"name": "released"})}
    assert one.constants == {"origin": "old"}
    assert MappedCollection.model_validate_json(one.model_dump_json()) == one


def test_a_field_may_go_into_a_dynamic_field_that_was_not_there():
    one = map_songs(fields=[{"source": "year", "target": "$meta.year"}])
    assert one.target.dynamic_field and one.target.fields[-1] == META
    assert "$meta" not in one.fields


def test_old_keys_are_kept_beside_new_ones():
    one = map_songs(auto_id=True, keep_key_as="old_id")
    old, key = one.target.fields[:2]
    assert (old.name, old.type, old.primary_key, old.auto_id) == (
        "old_id",
        DataType.INT64,
        False,
        False,
    )
    assert (key.name, key.primary_key, key.auto_id) == ("id", True, True)
    assert one.fields["id"] == "old_id" and one.key == "id"
    assert old in one.target.written and key not in one.target.written


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"fields": [{"source": "id", "default": 1}]}, "'id': default is for scalar fields"),
        (
            {"fields": [{"source": "vector", "default": 1}]},
            "'vector': default is for scalar fields",
        ),
        ({"fields": [{"source": "year", "default": 2**31}]}, "2147483648 is no INT32 value"),
        ({"fields": [{"source": "year", "type": "INT8", "default": 128}]}, "128 is no INT8 value"),
        ({"fields": [{"source": "mood", "default": "joyful"}]}, "has 6 bytes, allowed are 5"),
        (
            {"fields": [{"source": "mood", "default": "x", "nullable": True}]},
            "'mood': give default or nullable, not both",
        ),
        (
            {"fields": [{"source": "year", "partition_key": True}]},
            "'year': a partition key is an INT64 or VARCHAR field, it is INT32",
        ),
        ({"fields": [{"source": "id", "partition_key": True}]}, "it is the primary key"),
        (
            {"fields": [{"source": "mood", "partition_key": True, "nullable": True}]},
            "'mood': a partition key can't be nullable",
        ),
        (
            {"fields": [{"source": name, "partition_key": True} for name in ("mood", "title")]},
            "one partition key at most, these would be: ['title', 'mood']",
        ),
        (
            {"fields": [{"source": "title", "partition_key": True, "target": "$meta.t"}]},
            "'title': it can't go into the dynamic field as $meta.t",
        ),
        ({"fields": [{"source": "id", "target": "$meta.id"}]}, "'id': it can't go into"),
        ({"fields": [{"source": "$meta", "target": "x"}]}, "the dynamic field has no edits"),
        (
            {"fields": [{"source": "$meta.a", "type": "FLOAT_VECTOR"}]},
            "$meta.a can't become FLOAT_VECTOR of nothing; it can become BOOL",
        ),
        (
            {"fields": [{"target": "a", "type": "ARRAY", "value": [1]}]},
            "the constant 'a' must be a field of one of the types BOOL",
        ),
        ({"fields": [{"target": "a", "type": "INT8", "value": 300}]}, "300 is no INT8 value"),
        (
            {"fields": [{"target": "1", "type": "INT8", "value": 3}]},
            "the target name '1' is refused",
        ),
        (
            {"fields": [{"target": "year", "type": "INT8", "value": 3}]},
            "['year', 'year'] would all become 'year'",
        ),
        (
            {"fields": [{"source": "year", "target": "$meta.title"}]},
            "['year', 'title'] would all become 'title'",
        ),
        (
            {"auto_id": True, "keep_key_as": "year"},
            "['id', 'year'] would all become 'year'",
        ),
        (
            {"fields": [{"source": "year", "target": "$meta.y"}], "dynamic_field": False},
            "mapping turns the dynamic field off",
        ),
        (
            {"fields": [{"source": "vector", "type": "FLOAT16_VECTOR"}]},
            "'vector': as FLOAT16_VECTOR the values of FLOAT_VECTOR are rounded",
        ),
        (
            {"fields": [{"source": "year", "default": 1}], "exclude": ["year"]},
            "'year': mapping edits the field and leaves it out",
        ),
        ({"transform": "nope"}, "no transform named 'nope' is installed"),
    ],
    ids=str,
)
def test_what_a_field_can_not_be_is_refused(mapping, said):
    found = reasons(full(), mapping={"songs": mapping})
    assert any(said in reason for reason in found), found
    assert all(reason.startswith("collection 'songs'") for reason in found)


def test_a_key_needs_a_dynamic_field_to_be_in():
    edit = {"source": "$meta.colour", "type": "VARCHAR"}
    (said,) = reasons(mapping={"songs": {"fields": [edit]}})
    assert "mapping names ['$meta.colour'], but its rows have no dynamic values" in said


def test_rounding_is_allowed_by_allow_lossy_and_noted():
    edits = [{"source": "vector", "type": "BFLOAT16_VECTOR"}]
    one = mapped(mapping={"songs": {"fields": edits}}, allow_lossy=True)[0]
    assert one.target.fields[1].type is DataType.BFLOAT16_VECTOR
    assert any("are rounded to BFLOAT16_VECTOR" in note for note in one.notes)
