"""What the project's own files say must be so."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

import ppd_core

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_ros_package_has_the_version_of_the_python_one():
    version = ElementTree.parse(ROOT / "package.xml").getroot().findtext("version")
    assert version == ppd_core.__version__


def test_the_readme_s_python_example_runs(tmp_path, monkeypatch, capsys):
    from PIL import Image

    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    assert 'from_pretrained("nano")' in code  # which needs no download
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.full((48, 64, 3), 128, np.uint8)).save("photo.jpg")
    exec(code, {})
    assert "torch.Size([48, 64])" in capsys.readouterr().out
    assert (tmp_path / "cloud.ply").stat().st_size > 0


def test_the_readme_s_sensor_example_follows_the_sensor():
    code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[1]
    # Without an edge of colour: those would have to be where the sensor has edges of depth.
    image = np.broadcast_to(np.linspace(60, 180, 64)[:, None], (48, 64, 3)).astype(np.uint8)
    pipeline = ppd_core.DepthPipeline.from_pretrained("nano", device="cpu")
    sensor_depth = pipeline(image).relative_depth.add(0.5).expm1().numpy()
    camera = ppd_core.Intrinsics.from_fov(64, 48, 60)
    names = {"image": image, "sensor_depth": sensor_depth, "stamp_s": 0.0, "camera": camera}
    names["pipeline"] = pipeline
    exec(code, names)
    np.testing.assert_allclose(names["result"].metric_depth, sensor_depth, rtol=0.02)


def test_every_file_that_the_contributing_table_names_exists():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w./]+(?:\.(?:py|txt|xml|yaml|md)|/))`", text))
    assert len(named) > 10
    missing = {name for name in named if not (ROOT / name.rstrip("/")).exists()}
    assert not missing - {"out/demo/"}


def test_every_file_of_the_packages_that_the_readme_names_exists():
    named = set(re.findall(r"ppd_(?:core|ros)/[\w/]+\.\w+", README))
    assert "ppd_core/assets/table.mcap" in named
    assert not {name for name in named if not (ROOT / name).exists()}


def test_every_link_inside_the_docs_leads_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
