"""What `torch.hub.load` offers: the layer, the networks, and trained ones.

layer = torch.hub.load("owner/repository", "flexconv", 3, 24)
model = torch.hub.load("owner/repository", "digits")  # or another name of weights/
model = torch.hub.load("owner/repository", "trained", "path/of/a/run")
"""

import functools

from ckconv import load as trained
from ckconv.findings import names
from ckconv.models import FlexNet as flexnet
from ckconv.models import FlexTCN as flextcn
from ckconv.nn import CKConv as ckconv
from ckconv.nn import FlexConv as flexconv

__all__ = ["ckconv", "flexconv", "flexnet", "flextcn", "trained", *names()]

dependencies = ["torch"]

globals().update({name: functools.partial(trained, name) for name in names()})
