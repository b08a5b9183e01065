"""Reads events of lineage, one to a line, into the classes that OpenLineage publishes: what is missing, of another name, or made by a
schema that there is not, is an error. Prints how many events and facets there were."""

import json
import sys

import attr
from openlineage.client import event_v2, facet_v2

MODULES = [getattr(facet_v2, name) for name in dir(facet_v2) if name.endswith(("_run", "_job", "_dataset"))]
CLASSES = {}
for module in MODULES:
    for kind in vars(module).values():
        if isinstance(kind, type) and attr.has(kind) and hasattr(kind, "_get_schema"):
            CLASSES[kind._get_schema()] = (kind, module)
facets = 0


def read(kind, module, value):
    """An object of the class, with what is within it."""
    within = getattr(module, kind.__name__ + "Fields", None)
    own = {name: value for name, value in value.items() if not name.startswith("_")}
    made = {name: [within(**each) for each in value] if isinstance(value, list) and within else value for name, value in own.items()}
    return kind(**made)


def check(all_facets):
    global facets
    for name, value in (all_facets or {}).items():
        assert value["_producer"] and value["_schemaURL"], name
        if name.startswith("northgate_"):
            assert value["_schemaURL"].startswith("https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/"), value
            continue
        kind, module = CLASSES[value["_schemaURL"]]
        read(kind, module, value)
        facets += 1


events = [json.loads(line) for line in sys.stdin]
for event in events:
    check(event["run"].get("facets"))
    check(event["job"].get("facets"))
    sets = [*event["inputs"], *event["outputs"]]
    for dataset in sets:
        check(dataset.get("facets"))
        check(dataset.get("inputFacets"))
    event_v2.RunEvent(
        eventTime=event["eventTime"], producer=event["producer"], eventType=event_v2.RunState[event["eventType"]],
        run=event_v2.Run(runId=event["run"]["runId"]), job=event_v2.Job(namespace=event["job"]["namespace"], name=event["job"]["name"]),
        inputs=[event_v2.InputDataset(namespace=dataset["namespace"], name=dataset["name"]) for dataset in event["inputs"]],
    )
print(len(events), facets)
