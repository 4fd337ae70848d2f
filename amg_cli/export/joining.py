"""ONNX graphs put one after another, to make one."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import GraphProto, ModelProto


def joined(name: str, parts: Sequence[ModelProto], outputs: Sequence[str]) -> ModelProto:
    """One graph of the nodes of all, in their order.

    A part takes what an earlier one gives by that name; else it is an input of the whole, which
    several may take. All else in a part has its name for itself.
    outputs: what the whole gives, of what the parts give
    """
    model = ModelProto()
    model.CopyFrom(parts[-1])
    for part in parts:
        model.ir_version = max(model.ir_version, part.ir_version)
    model.graph.Clear()
    model.graph.name = name
    given: set[str] = set()
    for part in parts:
        _add(model.graph, part.graph)
        model.graph.input.extend(each for each in part.graph.input if each.name not in given)
        given |= {each.name for each in (*part.graph.input, *part.graph.output)}
    by_name = {each.name: each for part in parts for each in part.graph.output}
    model.graph.output.extend(by_name[output] for output in outputs)
    return model


def _add(whole: GraphProto, part: GraphProto) -> None:
    """The nodes and weights of a part."""
    shown = {each.name for each in (*part.input, *part.output)}

    def own(name: str) -> str:
        """A name inside the part; the empty one stands for what is not given."""
        return name if not name or name in shown else f"{part.name}/{name}"

    for node in part.node:
        assert not any(attribute.HasField("g") for attribute in node.attribute)  # no graph inside
        added = whole.node.add()
        added.CopyFrom(node)
        for names in (added.input, added.output):
            names[:] = [own(name) for name in names]
        added.name = own(node.name)
    for weight in part.initializer:
        whole.initializer.add().CopyFrom(weight)
        whole.initializer[-1].name = own(weight.name)
    for value in part.value_info:
        whole.value_info.add().CopyFrom(value)
        whole.value_info[-1].name = own(value.name)
