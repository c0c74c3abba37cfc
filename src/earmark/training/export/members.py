"""A combination's file: an ONNX graph that gives the bundles of its members, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from earmark.bundle import MEMBER_NAME, Bundle, BundleSpec, described
from earmark.training.export.source import converted, graph_of_bundle

OPSET, IR_VERSION = 17, 8


def graph_of_members(contents: Sequence[bytes]) -> onnx.ModelProto:
    """Make a graph without inputs that gives `member0`, `member1` …, (n_bytes,) uint8 each.

    Parameters
    ----------
    contents
        Of each member, a bundle's file.

    Returns
    -------
    onnx.ModelProto
        For `earmark.bundle.write_bundle`.
    """
    nodes, outputs, stored = [], [], []
    for i, content in enumerate(contents):
        name = f"{MEMBER_NAME}{i}"
        stored.append(numpy_helper.from_array(np.frombuffer(content, dtype=np.uint8), f"{name}/file"))
        nodes.append(helper.make_node("Identity", [f"{name}/file"], [name]))
        outputs.append(helper.make_tensor_value_info(name, TensorProto.UINT8, [len(content)]))
    graph = helper.make_graph(nodes, "combination", [], outputs, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def contents_of(path: Path) -> list[bytes]:
    """The bundles that a combination's file holds, in order."""
    stored = onnx.load(path).graph.initializer
    return [numpy_helper.to_array(tensor).tobytes() for tensor in stored]


def converted_members(
    bundle: Bundle, *, waveforms: bool, precision: str, pictures: Sequence[np.ndarray], source: str
) -> tuple[onnx.ModelProto, BundleSpec]:
    """Make an export of a combination, of which each member is exported.

    Parameters
    ----------
    bundle
        A combination.
    waveforms, precision, source
        As `earmark.training.export.source.converted` takes them.
    pictures
        For ``"int8-static"``: of each member, (n, n_channels, height, n_frames) float32; else none.

    Returns
    -------
    onnx.ModelProto, BundleSpec
        For `earmark.bundle.write_bundle`.

    Raises
    ------
    BundleError
        When a member is an export itself, or cannot have this precision.
    """
    contents, specs = [], []
    for i, (member, content) in enumerate(zip(bundle.members, contents_of(bundle.path), strict=True)):
        graph, spec = converted(
            graph_of_bundle(member, onnx.load_from_string(content), waveforms=waveforms),
            member.spec,
            waveforms=waveforms,
            precision=precision,
            pictures=pictures[i] if pictures else None,
            source=source,
        )
        contents.append(described(graph, spec).SerializeToString())
        specs.append(spec)
    said = {name: specs[0].export[name] for name in ("source", "source_precision", "precision")}
    notes = dict.fromkeys(note for spec in specs for note in spec.export.get("notes", []))
    return graph_of_members(contents), msgspec.structs.replace(
        bundle.spec,
        input=specs[0].input,
        export={**said, "notes": list(notes)},
        earmark_version=specs[0].earmark_version,
    )
