from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ppd_core.evaluation.baselines import open_model
from ppd_core.evaluation.fingerprint import NO_WEIGHTS, weights_digest


def test_the_same_weights_have_one_digest_and_others_another():
    assert weights_digest(open_model("tiny", "cpu")) == weights_digest(open_model("tiny", "cpu"))
    model = open_model("tiny", "cpu")
    before = weights_digest(model)
    with torch.no_grad():
        next(model._pipeline.models.parameters()).view(-1)[0] += 1
    assert weights_digest(model) != before


def test_a_precision_of_its_own_has_a_digest_of_its_own():
    whole, half = nn.Linear(2, 2), nn.Linear(2, 2, dtype=torch.bfloat16)
    digests = {weights_digest(SimpleNamespace(net=net)) for net in (whole, half)}
    assert len(digests) == 2 and all(one.startswith("sha256:") for one in digests)


@pytest.mark.parametrize("kind", ["attribute", "models", "components"])
def test_networks_are_found_where_libraries_keep_them(kind: str):
    net = nn.Linear(2, 2)
    parts = {
        "attribute": net,
        "models": SimpleNamespace(models=nn.ModuleDict({"net": net})),
        "components": SimpleNamespace(components={"net": net, "tokenizer": object()}),
    }
    model = SimpleNamespace(_part=parts[kind], name="fake")
    before = weights_digest(model)
    net.bias.data += 1
    assert before != weights_digest(model) != NO_WEIGHTS


def test_what_has_no_weights_says_so():
    assert weights_digest(SimpleNamespace(name="recorded")) == NO_WEIGHTS
    assert weights_digest(lambda image: image) == NO_WEIGHTS
