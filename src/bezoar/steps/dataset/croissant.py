"""Croissant metadata (https://docs.mlcommons.org/croissant/docs/croissant-spec-1.0.html) of a mix's folder."""

from typing import Any

from bezoar.steps.dataset.card import Card
from bezoar.steps.dataset.readme import File, Found

CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataBiases": "cr:dataBiases",
    "dataCollection": "cr:dataCollection",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "personalSensitiveInformation": "cr:personalSensitiveInformation",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
TYPES = {"string": "sc:Text", "int64": "sc:Integer", "float64": "sc:Float"}


def croissant(card: Card, found: Found) -> dict[str, Any]:
    """The metadata: files with their hashes, and a record set for each split."""
    files = [one for one in found.files if one.name.endswith(".parquet")]
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": found.name,
        "description": f"The mix {found.name} of the recipe {card.recipe}, built by Bezoar.",
        "license": card.licence
        or " AND ".join(sorted({text for one in card.parts.values() for text in one.split(" AND ")})),
        "inLanguage": found.languages,
        "isLiveDataset": False,
        "distribution": [_file(one) for one in files],
        "recordSet": [_records(split, found.features) for split in found.splits],
    }


def _file(one: File) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": one.name,
        "name": one.name,
        "contentUrl": one.name,
        "contentSize": f"{one.size} B",
        "encodingFormat": "application/x-parquet",
        "sha256": one.sha256,
    }


def _records(split: str, features: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": split,
        "name": split,
        "key": {"@id": f"{split}/id"},
        "field": [_field(split, one) for one in features],
    }


def _field(split: str, one: dict[str, Any]) -> dict[str, Any]:
    name = one["name"]
    field = {"@type": "cr:Field", "@id": f"{split}/{name}", "name": name}
    if "list" not in one:
        return {**field, "dataType": TYPES[one["dtype"]], "source": _source(split, name)}
    inner = [
        {
            "@type": "cr:Field",
            "@id": f"{split}/{name}/{part['name']}",
            "name": part["name"],
            "dataType": TYPES[part["dtype"]],
            "source": {**_source(split, name), "transform": {"jsonPath": part["name"]}},
        }
        for part in one["list"]
    ]
    return {**field, "repeated": True, "subField": inner}


def _source(split: str, column: str) -> dict[str, Any]:
    return {"fileObject": {"@id": f"{split}.parquet"}, "extract": {"column": column}}
