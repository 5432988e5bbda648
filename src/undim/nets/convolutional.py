"""What networks without attention declare alike."""

from __future__ import annotations

from typing import ClassVar

from undim.nets.backbone import Backbone, FlopsRule, Stage


class Convolutional(Backbone):
    """A network without attention: there is no place for ADR, and any size of picture fits as it is."""

    multiple_of: ClassVar[int] = 1
    adr_bottleneck: ClassVar[int] = 0  # never asked for
    flops_rule: ClassVar[FlopsRule] = "fvcore"
    stages: ClassVar[dict[str, Stage]] = {}
