"""PyTorch: a .pt2 file of `torch.export.save`, by torch's own exporter; asks for --trust"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

from converters.chatter import silenced
from converters.sources import Source
from edge_bench.errors import ConversionError, InvalidModel

HINT = "where the model was made: torch.onnx.export(…, dynamo=True), and import the .onnx file"


class ExportedProgram(Source):
    """Asks for trust: `torch.export.load` evaluates expressions from the file and finds functions by the
    names it gives, in torch 2.13 still. Weights and constants must lie raw in the archive, as
    `torch.export.save` writes them; pickled ones, custom objects and compiled code are refused even so.
    """

    format = "onnx"
    needs_trust = True

    def recognises(self, given: Path) -> bool:
        return given.suffix.lower() == ".pt2" and given.is_file()

    def convert(self, given: Path, target: Path) -> None:
        refuse_pickles(given)
        import torch

        from converters.formats.onnx import Onnx

        try:
            with silenced():
                program = torch.export.load(given)
        # It raises whatever it meets in the file.
        except Exception as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise InvalidModel(f"torch refuses '{given.name}': {lines[0][:300]}", hint=HINT) from error
        if len(program.graph_signature.user_inputs) != 1 or len(program.graph_signature.user_outputs) != 1:
            raise ConversionError(
                f"'{given.name}' has not one input and one output; more are not converted", hint=HINT
            )
        Onnx().convert(program, target)


def refuse_pickles(given: Path) -> None:
    """Raise `InvalidModel` if to load the archive would unpickle anything but plain tensors.

    Example inputs are always pickled: they are read by torch's restricted unpickler first, which
    `torch.export.load` then finds good as well and so never comes to its unrestricted one.
    """
    import torch

    try:
        with zipfile.ZipFile(given) as archive:
            names = archive.namelist()
            for name in names:
                kind = _pickled(name, archive)
                if kind:
                    raise InvalidModel(
                        f"'{given.name}' holds {kind}; nothing from outside is unpickled or run", hint=HINT
                    )
            for name in names:
                if "/sample_inputs/" in name and (content := archive.read(name)):
                    torch.load(io.BytesIO(content), weights_only=True)
    except InvalidModel:
        raise
    # A restricted unpickler raises its own errors; a broken archive, those of zipfile and json.
    except Exception as error:
        raise InvalidModel(
            f"'{given.name}' is no program that can be loaded without unpickling: {type(error).__name__}",
            hint=HINT,
        ) from error


def _pickled(name: str, archive: zipfile.ZipFile) -> str:
    """Return what is wrong with an entry of the archive, or an empty text."""
    if "/aotinductor/" in name:
        return "compiled code"
    data = "/weights/" in name or "/constants/" in name
    if data and name.endswith(".pt"):
        return "pickled weights"
    if data and name.endswith("config.json"):
        entries = json.loads(archive.read(name))["config"].values()
        if any(entry["use_pickle"] for entry in entries):
            return "pickled weights"
    if data and name.rpartition("/")[2].startswith(("custom_obj", "opaque_obj")):
        return "pickled objects"
    if name.rpartition("/")[2] in ("serialized_exported_program.json", "serialized_state_dict.pt"):
        return "a program of torch before 2.8"
    return ""
