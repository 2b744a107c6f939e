"""A device is one file: found without registration, read strictly, every fact with its source."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

import device_profiles
from device_profiles import DeviceProfile, Fact, ProfileError, Published, UnknownDevice, load, names

WHOLE = """
name = "My Board"
latency_source = "published"

[soc]
value = "SoC 1"
source = "datasheet, page 1"

[cores]
value = 4
source = "datasheet, page 2"

[ram_mb]
value = 512
source = "datasheet, page 3"

[runtimes]
value = ["onnxruntime", "litert"]
source = "a paper"

[threads]
value = [1, 4]
source = "a paper"

[[published]]
what = "latencies of ten networks"
source = "a paper"
"""


def drop(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.toml").write_text(text, encoding="utf-8")


def test_a_file_dropped_into_the_folder_is_a_device(tmp_path: Path) -> None:
    assert names(tmp_path) == ()
    drop(tmp_path, "my-board", WHOLE)
    assert names(tmp_path) == ("my-board",)
    assert load("my-board", tmp_path) == DeviceProfile(
        id="my-board",
        name="My Board",
        latency_source="published",
        soc=Fact(value="SoC 1", source="datasheet, page 1"),
        cores=Fact(value=4, source="datasheet, page 2"),
        ram_mb=Fact(value=512.0, source="datasheet, page 3"),
        runtimes=Fact(value=("onnxruntime", "litert"), source="a paper"),
        threads=Fact(value=(1, 4), source="a paper"),
        published=(Published(what="latencies of ten networks", source="a paper"),),
    )


def test_facts_are_those_that_are_known(tmp_path: Path) -> None:
    drop(tmp_path, "my-board", WHOLE)
    told = load("my-board", tmp_path).facts()
    assert list(told) == ["soc", "cores", "ram_mb", "runtimes", "threads"]
    assert told["cores"].source == "datasheet, page 2"


def test_listing_reads_no_file(tmp_path: Path) -> None:
    drop(tmp_path, "broken", "= = =")
    assert names(tmp_path) == ("broken",)


def test_an_unknown_device_names_the_nearest() -> None:
    with pytest.raises(UnknownDevice, match="unknown device 'rpi4'. Known: .*'raspberry-pi-4'"):
        load("rpi4")
    with pytest.raises(UnknownDevice, match="Did you mean 'this-machine'"):
        load("This_Machine")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('nam = "x"', "unknown key 'nam'.*Did you mean 'name'"),
        ('id = "x"', "unknown key 'id'"),
        ('name = "x"', "missing key 'latency_source'"),
        ('latency_source = "none"', "missing key 'name'"),
        ('name = "x"\nlatency_source = "measurd"', "latency_source is 'measurd'.*Did you mean 'measured'"),
        ('name = 3\nlatency_source = "none"', "name is 3; it must be a text"),
        ('name = "x"\nlatency_source = "none"\ncores = 4', "cores is 4; it must be a table of 'value'"),
        ('name = "x"\nlatency_source = "none"\n[cores]\nvalue = 4', r"missing key 'cores\.source'"),
        (
            'name = "x"\nlatency_source = "none"\n[cores]\nvalue = 4\nsource = " "',
            r"cores\.source is empty",
        ),
        (
            'name = "x"\nlatency_source = "none"\n[cores]\nvalue = 4.5\nsource = "s"',
            r"cores\.value is 4\.5; it must be a whole number",
        ),
        (
            'name = "x"\nlatency_source = "none"\n[cores]\nvalue = true\nsource = "s"',
            r"cores\.value is True; it must be a whole number",
        ),
        (
            'name = "x"\nlatency_source = "none"\n[cores]\nvalues = 4\nsource = "s"',
            r"unknown key 'cores\.values'.*Did you mean 'value'",
        ),
        (
            'name = "x"\nlatency_source = "none"\n[threads]\nvalue = [1, "2"]\nsource = "s"',
            r"threads\.value\[1\] is '2'; it must be a whole number",
        ),
        (
            'name = "x"\nlatency_source = "none"\n[[published]]\nwhat = "latencies"',
            r"missing key 'published\[0\]\.source'",
        ),
        (
            'name = "x"\nlatency_source = "none"\nread_here = true\n[soc]\nvalue = "a"\nsource = "s"',
            "'soc' is given, but read_here says",
        ),
        ("= = =", "is not TOML"),
    ],
)
def test_what_does_not_fit_names_the_file_the_place_and_what_would_work(
    tmp_path: Path, text: str, told: str
) -> None:
    drop(tmp_path, "odd", text)
    with pytest.raises(ProfileError, match=rf"odd\.toml.*{told}"):
        load("odd", tmp_path)


@pytest.mark.parametrize("name", names())
def test_every_device_that_ships_is_whole_and_names_public_sources(name: str) -> None:
    profile = load(name)
    assert profile.id == name and re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    sources = [fact.source for fact in profile.facts().values()] + [one.source for one in profile.published]
    assert profile.read_here or sources
    # A source is for anybody to look up: a paper, a datasheet, a repository; no path on some disk.
    assert not any(re.search(r"(^|\s)[/~.]", source) for source in sources)


def test_this_machine_invents_no_fact() -> None:
    profile = load("this-machine")
    assert profile.read_here and not profile.facts() and profile.latency_source == "measured"
    assert [name for name in names() if load(name).read_here] == ["this-machine"]


def test_the_readme_tells_every_key_once() -> None:
    told = (Path(device_profiles.__file__).parent / "README.md").read_text(encoding="utf-8")
    keys = re.findall(r"^\| `\[*(\w+)\]*` \|", told, re.MULTILINE)
    known = [field.name for field in dataclasses.fields(DeviceProfile) if field.name != "id"]
    assert keys == known


def test_the_example_of_the_readme_is_a_device(tmp_path: Path) -> None:
    told = (Path(device_profiles.__file__).parent / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", told, re.DOTALL)
    drop(tmp_path, "my-board", example)
    assert load("my-board", tmp_path).cores == Fact(
        value=4, source="My Board datasheet, revision 3, page 2"
    )


def test_the_package_stands_alone() -> None:
    code = "import sys, device_profiles; device_profiles.load('this-machine'); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    assert not {"edge_bench", "numpy", "pandas"} & {name.partition(".")[0] for name in loaded}


def test_public_means_listed() -> None:
    assert all(hasattr(device_profiles, name) for name in device_profiles.__all__)
