"""Models that others share on a hub: found where they were pulled to, pulled, pushed. Never unasked, never pickles.

`Enhancer("hf:owner/name@revision")` runs what `undim pull owner/name@revision`, or `pull` here, has fetched. Finding it
needs neither a network nor huggingface_hub.
"""

from undim.hub.pulling import Pulled, pull
from undim.hub.pushing import Pushed, push
from undim.hub.reference import Reference

__all__ = ["Pulled", "Pushed", "Reference", "pull", "push"]
