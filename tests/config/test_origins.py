"""Where a value came from."""

from __future__ import annotations

from albor.config.compose import Composed, Composer
from albor.config.location import conf_directory, short
from albor.config.origins import Origins
from albor.config.overrides import split
from albor.plan.resolver import Resolver

from .conftest import HEAD, Write


def origins(composer: Composer, composed: Composed, *texts: str) -> Origins:
    given = split(texts, composer.groups, composer.bad_choice)
    assert not given.problems
    return Origins(composed, composer, given.values)


def test_a_value_comes_from_the_last_override_that_touches_it(resolver: Resolver) -> None:
    composer = resolver.composer
    found = origins(composer, composer.compose({}), "optim.lr=1", "optim.betas=[1,2]", "++optim.lr=2", "a.b={c: 1}")
    assert found.find("optim.lr") == "override ++optim.lr=2"
    assert found.find("optim.betas[1]") == found.find("optim.betas") == "override optim.betas=[1,2]"
    assert found.find("optim.betas[10].x") == "override optim.betas=[1,2]"
    assert found.find("optim") == "override ++optim.lr=2"
    assert found.find("a.b.c.d") == found.find("a") == "override a.b={c: 1}"
    assert found.find("optim.lrx") == short(conf_directory() / "optim/adamw.yaml")


def test_a_value_comes_from_the_line_of_the_last_file_that_sets_it(write: Write) -> None:
    composer = write(
        {
            "model/mine": "name: mine\n\nhidden_size: 8\nextra:\n  deep: {er: 1}\n  list: [1]\n",
            "experiment/mine": f"{HEAD}defaults: [override /model: mine]\n"
            "name: me\nmodel:\n  hidden_size: 16\nseed: 3\n",
        }
    )
    found = origins(composer, composer.compose({"experiment": "mine"}))
    experiment, model = "own/experiment/mine.yaml", "own/model/mine.yaml"
    assert found.find("model.hidden_size") == f"{experiment}:5"
    assert found.find("model") == f"{experiment}:4"
    assert found.find("task.samples.kind") == f"{short(conf_directory() / 'task/samples.yaml')}:3"
    assert found.find("name") == f"{experiment}:3"
    assert found.find("seed") == f"{experiment}:6"
    assert found.find("model.name") == f"{model}:1"
    assert found.find("model.extra.deep.er") == f"{model}:5"
    assert found.find("model.extra.list[0]") == f"{model}:6"
    # What nobody set: its section's place, or the file of the group.
    assert found.find("model.extra.deep.gone") == f"{model}:5"
    assert found.find("model.extra.gone.er.still") == f"{model}:4"
    assert found.find("model.extra.list.gone") == f"{model}:6"
    assert found.find("model.gone") == model
    assert found.find("optim.gone") == short(conf_directory() / "optim/adamw.yaml")
    assert found.find("debug.gone") is None and found.find("gone") is None and found.find("gone.x.y.z") is None
