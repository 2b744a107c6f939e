"""A model file made elsewhere as an artifact: copied whole, its quality measured by running it."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import numpy.typing as npt

from edge_bench.data import Images, open_images, prepare
from edge_bench.errors import ConfigError, DataError, InvalidModel, did_you_mean
from edge_bench.files import Home, explained, sha256_of
from edge_bench.measure.compression import gzip_bytes, zstd_bytes
from edge_bench.measure.inspection import check_exists, check_model, runtime_for
from edge_bench.measure.onnx_file import survey_file
from edge_bench.measure.quality import accuracy
from edge_bench.measure.sandbox import predict, stated
from edge_bench.records import Artifact, Metric, Preprocessing
from edge_bench.records.artifact import Format, TensorSpec
from edge_bench.records.layout import ImageLayout, image_layout
from edge_bench.records.subnet import Split
from edge_bench.store import now

# So many bytes of prepared images go to the sandbox at once.
CHUNK_BYTES = 128 << 20
RAW_RANGE = 255.0
# Whether channels come last, by the name of the layout.
LAYOUTS = {"nchw": False, "nhwc": True}
SPLITS: tuple[Split, ...] = ("selection", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeing:
    """What the user says of how images become the file's inputs; None is left to the file.

    A pixel becomes (pixel / 255 − mean) / std, one mean and std a channel or one for all: 0 and 1 give
    0…1, 0.5 and 0.5 give −1…1, and 0 and 1/255 give 0…255. `layout` is a key of `LAYOUTS`.
    """

    size: int | None = None
    layout: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def adopt(model: Path, *, home: Home, name: str | None, known: Sequence[Artifact]) -> Artifact:
    """Copy a model file, with the weights beside it, under the home folder; return its record.

    The folder is called after the content, so that the same file is the same import: what is known of
    it stays, its name apart. Nothing is left behind by a file that no runtime accepts.

    Args:
        model: an ONNX or TFLite file.
        home: where it goes, `artifacts/<digest>/`.
        name: what to call it; None takes the file's name.
        known: every stored artifact; one with this content is returned.

    Raises:
        ConfigError: no such file, or one of neither format.
        InvalidModel, ModelCrashed: no runtime accepts it.
        StoreError: it cannot be written.
    """
    check_exists(model)
    ending = model.suffix.lstrip(".").lower()
    if ending not in get_args(Format):
        raise ConfigError(
            f"'{model.name}' is of no format that can be imported", hint="edge-bench import --help"
        )
    runtime = runtime_for(model)
    check_model(model, runtime=runtime)
    with explained(home.artifacts):
        home.artifacts.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".import-", dir=home.artifacts) as temporary:
            fresh = Path(temporary) / "new"
            digest, size_bytes = _copied(model, fresh)
            folder = home.artifacts / digest[:16]
            kept = folder / model.name
            same = next((one for one in known if one.file.startswith(home.relative(folder) + "/")), None)
            if same is not None:
                _mended(fresh / model.name, home.absolute(same.file))
                return replace(same, name=_name(name, digest, known, same.id)) if name else same
            told = stated(fresh / model.name, runtime=runtime)
            file_digest = sha256_of(fresh / model.name)
            if folder.exists():
                shutil.rmtree(folder)
            fresh.rename(folder)
    identity = f"imported-{digest[:12]}"
    return Artifact(
        id=identity,
        name=_name(name or model.stem, digest, known, identity),
        subnet=None,
        format=cast(Format, ending),
        precision=told.precision,
        file=home.relative(kept),
        digest=file_digest,
        size_bytes=size_bytes,
        gzip_bytes=gzip_bytes(kept),
        zstd_bytes=zstd_bytes(kept),
        inputs=told.inputs,
        outputs=told.outputs,
        metrics=(),
        created=now(),
    )


def as_found(model: Path, *, runtime: str) -> Artifact:
    """Return the record of a file that stays where it is: for `judge`, not for the store.

    Raises:
        InvalidModel, ModelCrashed: the runtime does not accept it.
    """
    told = stated(model, runtime=runtime)
    return Artifact(
        id="",
        name=model.name,
        subnet=None,
        format=cast(Format, model.suffix.lstrip(".").lower()),
        precision=told.precision,
        file=str(model.resolve()),
        digest="",
        size_bytes=model.stat().st_size,
        inputs=told.inputs,
        outputs=told.outputs,
        metrics=(),
        created=now(),
    )


def judge(
    artifact: Artifact,
    *,
    home: Home,
    data: Mapping[str, Any],
    seeing: Seeing,
    labels: Sequence[str] = (),
    splits: Sequence[Split] = SPLITS,
    runtime: str | None = None,
) -> Artifact:
    """Return the artifact with its accuracy on the splits, by running the file.

    Args:
        artifact: the record of an imported file.
        home: where the file lies.
        data: the `[data]` table.
        seeing: how images become inputs. What is not said is taken from an earlier import, else from
            the range of a quantized input, else 0…1.
        labels: the name of each output; empty where the outputs are the data's classes in their order.
        splits: which ones.
        runtime: what runs it; None takes the one that reads the file's ending.

    Raises:
        ConfigError: a size, mean or std that does not fit the file, or a size that nobody tells.
        InvalidModel, ModelCrashed: it takes no images, or answers no logits of the data's classes.
        DataError: the data cannot be read, or has classes that `labels` lacks.
    """
    layout = _layout(artifact, seeing)
    preprocessing = _preprocessing(artifact, layout, seeing)
    source = open_images(data)
    metrics: list[Metric] = []
    names: tuple[str, ...] = ()
    for split in splits:
        images = source.load(split, size=preprocessing.size)
        logits = np.concatenate(list(_logits(artifact, images, preprocessing, layout, home, runtime)))
        names = tuple(labels) or images.class_names
        _check_outputs(logits, names, labelled=bool(labels))
        outputs = _outputs_of(images.class_names, names)
        metrics.append(accuracy(logits, outputs[images.labels], split=split))
    return replace(
        artifact,
        metrics=tuple(metrics),
        preprocessing=preprocessing,
        class_names=names,
        data=dict(data),
    )


def _copied(model: Path, folder: Path) -> tuple[str, int]:
    """Copy a file and the weights beside it; return a digest of it all, and its bytes."""
    beside = sorted(survey_file(model).external) if model.suffix.lower() == ".onnx" else []
    whole, size = hashlib.sha256(), 0
    for place in (model.name, *beside):
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model.parent / place, target)
        # A file alone has its own digest; weights beside it change it.
        whole.update(bytes.fromhex(sha256_of(target)))
        size += target.stat().st_size
    return (whole.hexdigest() if beside else sha256_of(folder / model.name)), size


def _mended(fresh: Path, kept: Path) -> None:
    """Put the import's files back where they are gone."""
    if not kept.is_file():
        shutil.rmtree(kept.parent, ignore_errors=True)
        fresh.rename(fresh.with_name(kept.name))
        fresh.parent.rename(kept.parent)


def _name(wanted: str, digest: str, known: Sequence[Artifact], identity: str) -> str:
    """Return a name that is good for a folder and that no other artifact has."""
    name = re.sub(r"[^\w.+-]+", "-", wanted).strip("-.") or "model"
    taken = {word for one in known if one.id != identity for word in (one.name, one.id)}
    return f"{name}-{digest[:6]}" if name in taken else name


def _layout(artifact: Artifact, seeing: Seeing) -> ImageLayout:
    if len(artifact.inputs) != 1:
        names = ", ".join(f"'{one.name}'" for one in artifact.inputs)
        raise InvalidModel(
            f"'{artifact.name}' takes {len(artifact.inputs)} inputs ({names}); its quality can be measured "
            "where it takes one, an image"
        )
    [given] = artifact.inputs
    wanted = None if seeing.layout is None else LAYOUTS[seeing.layout]
    if np.dtype(given.dtype).kind in "iu" and len(given.shape) == 2:
        raise InvalidModel(
            f"'{artifact.name}' takes whole numbers, such as the tokens of a text; how a text becomes them "
            "is known of models that edge-bench exported",
            hint="its latency can be measured all the same, without labelled data",
        )
    layout = image_layout(given, format=artifact.format, channels_last=wanted)
    if layout is None:
        shape = ["any" if side is None else side for side in given.shape]
        raise InvalidModel(
            f"'{artifact.name}' takes inputs of shape {shape}; square images of 1 or 3 channels, "
            "[batch, channels, side, side] or [batch, side, side, channels], are expected",
            hint="its latency can be measured all the same, without labelled data",
        )
    return layout


def _preprocessing(artifact: Artifact, layout: ImageLayout, seeing: Seeing) -> Preprocessing:
    earlier = artifact.preprocessing
    size = layout.size or seeing.size or (earlier.size if earlier else None)
    if size is None:
        raise ConfigError(
            f"'{artifact.name}' takes images of any size; say which", hint="--size PIXELS, e.g. --size 224"
        )
    if seeing.size not in (None, size):
        raise ConfigError(f"--size is {seeing.size}; '{artifact.name}' takes images of {size} pixels")
    usual_mean, usual_std = (earlier.mean, earlier.std) if earlier else _stated_range(artifact.inputs[0])
    return Preprocessing(
        size=size,
        channels=layout.channels,
        mean=_by_channel("--mean", seeing.mean or usual_mean, layout.channels),
        std=_by_channel("--std", seeing.std or usual_std, layout.channels),
    )


def _stated_range(spec: TensorSpec) -> tuple[tuple[float], tuple[float]]:
    """Return the mean and std that lead to the range of real numbers which a quantized input has.

    Its scale and zero point were fitted to what it was calibrated on, so they tell 0…1 from −1…1 and
    from 0…255. Any other range, and a float input, tells nothing: 0…1 is assumed.
    """
    kind = np.dtype(spec.dtype)
    if kind.itemsize == 1 and kind.kind in "iu":
        scale, zero_point = spec.scale or 1.0, spec.zero_point or 0
        low, high = (scale * (end - zero_point) for end in (np.iinfo(kind).min, np.iinfo(kind).max))
        if abs(low + 1) < 0.05 and abs(high - 1) < 0.05:
            return (0.5,), (0.5,)
        if abs(low) < 1 and abs(high - RAW_RANGE) < 1:
            return (0.0,), (1 / RAW_RANGE,)
    return (0.0,), (1.0,)


def _by_channel(option: str, values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    if len(values) == 1:
        return values * channels
    if len(values) != channels:
        raise ConfigError(f"{option} has {len(values)} values; the file takes {channels} channels")
    return values


def _logits(
    artifact: Artifact,
    images: Images,
    preprocessing: Preprocessing,
    layout: ImageLayout,
    home: Home,
    runtime: str | None,
) -> Iterator[npt.NDArray[np.float32]]:
    """Yield logits [n, outputs] of all images, some images at a time, in the smallest batches it takes."""
    file = home.absolute(artifact.file)
    batch = artifact.inputs[0].shape[0] or 1
    each = preprocessing.size**2 * preprocessing.channels * 4
    step = max(batch, CHUNK_BYTES // each)
    for start in range(0, len(images.pixels), step):
        pixels = _with_channels(images.pixels[start : start + step], preprocessing.channels)
        inputs = prepare(pixels, preprocessing)
        if layout.channels_last:
            inputs = np.ascontiguousarray(inputs.transpose(0, 2, 3, 1))
        answered = predict(file, inputs, runtime=runtime or runtime_for(file), batch=batch)
        yield answered.reshape(len(inputs), -1)


def _with_channels(pixels: npt.NDArray[np.uint8], channels: int) -> npt.NDArray[np.uint8]:
    """Return images in grey or in colour, as Pillow's `convert` makes them."""
    if pixels.shape[3] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=3)
    from PIL import Image

    return np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in pixels])[..., None]


def _check_outputs(logits: npt.NDArray[np.float32], names: Sequence[str], *, labelled: bool) -> None:
    if logits.shape[1] == len(names):
        return
    whose = "--labels names" if labelled else "the data has"
    raise InvalidModel(
        f"the file gives {logits.shape[1]} outputs; {whose} {len(names)} classes",
        hint="name the file's outputs, one a line in their order: --labels FILE",
    )


def _outputs_of(classes: Sequence[str], names: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return which output stands for each class of the data; case does not count."""
    places = {name.casefold(): place for place, name in reversed(list(enumerate(names)))}
    for name in classes:
        if name.casefold() not in places:
            raise DataError(
                f"the data has a class '{name}' that --labels does not name.{did_you_mean(name, names)}"
            )
    return np.asarray([places[name.casefold()] for name in classes], np.int64)
